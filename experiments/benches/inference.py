"""Prediction in sliding windows in aeseg and in PyTorch, with the same weights on the same image.

unet-predict        the U-Net of 64 to 1024 channels, without norms
segnet-predict      SegNet-Basic in evaluation mode
segformer-predict   SegFormer b0, against that of `transformers`

An image of 360 x 480 has nine windows of 192 x 256, which overlap by a third.  Windows come one at a time ("-1") or in eights ("-8").  Both
sides cut the windows and average the logits with `aeseg.inference.sliding`, so they differ in the network alone.
"""

import tempfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeseg.importers import files, segformer
from aeseg.importers.rules import to_foreign
from aeseg.inference.sliding import sliding_logits
from aeseg.models.encoders import convnet, mit
from aeseg.models.heads import segformer as segformer_head
from aeseg.runs.configs import segmenter_config
from aeseg.spec import build

from .convolutional import CLASSES, Network, reader, unet_logits
from .held import Held, flat, variables_of
from .published import recipes, segnet_logits

NETWORKS = {f"{network}-predict-{windows}": (360, windows) for network in ("unet", "segnet", "segformer") for windows in (1, 8)}
"""{name: (height of the image, windows per call)}"""
FORMS = ("channels_last", "contiguous_format", "compiled")

Call = Callable[[], float]


def steps(torch: Any, name: str, size: int) -> tuple[Call, dict[str, Call]]:
    """Return functions that predict the image and return the logits' mean square: ours, and PyTorch's by form."""
    network, _, windows = name.split("-")
    image = np.random.default_rng(0).random((size, size * 4 // 3, 3), np.float32)
    ours, theirs = NETS[network](torch)

    def call(predict: Callable[[np.ndarray], np.ndarray]) -> Call:
        window = (size * 8 // 15, size * 32 // 45)
        return lambda: float(np.mean(np.square(sliding_logits(predict, image, window, batch=int(windows)))))

    return call(ours), {form: call(theirs(form)) for form in FORMS}


def _convolutional(torch: Any, model: Network, apply: Callable[..., Any], given: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Return our prediction, and PyTorch's of a form; `given`: the image as PyTorch's network reads it."""
    example = jnp.zeros((1, 32, 32, 3))
    variables = variables_of(lambda: model.init(jax.random.key(0), example, train=False))
    predict = jax.jit(lambda image: model.apply(variables, image, train=False)[1])
    weights, moments = (
        flat(variables["params"]),
        {path: torch.tensor(leaf) for path, leaf in flat(variables.get("batch_stats", {})).items()},
    )

    def statistics(path: str) -> tuple[Any, Any]:
        return moments[f"{path}/mean"], moments[f"{path}/var"]

    def theirs(form: str) -> Callable[[np.ndarray], np.ndarray]:
        held = Held(torch, weights, "channels_last" if form == "compiled" else form, trains=False)
        more = {"statistics": statistics} if moments else {}

        def network(features: Any) -> Any:
            return apply(held, features, **more)

        chosen = torch.compile(network) if form == "compiled" else network
        return lambda image: _logits(torch, chosen, held.features(given(image)))

    return lambda image: np.asarray(predict(image)), theirs


def _logits(torch: Any, network: Callable[[Any], Any], features: Any) -> np.ndarray:
    with torch.inference_mode():
        return network(features).permute(0, 2, 3, 1).numpy()


def _unet(torch: Any) -> Any:
    return _convolutional(torch, Network(build(convnet.recipe("unet")), reader("unet")), unet_logits, lambda image: image)


def _segnet(torch: Any) -> Any:
    encoder, head = recipes("segnet")
    return _convolutional(torch, Network(build(encoder), build(head)), segnet_logits, lambda image: (image - 0.45) / 0.25)


def _segformer(torch: Any) -> Any:
    from transformers import SegformerForSemanticSegmentation

    encoder = mit.recipe("b0")
    encoder.update({"mean": (0.0,), "std": (1.0,)})
    node = segmenter_config(segformer_head.recipe("b0", classes=CLASSES), encoder, CLASSES)
    method, example = build(node), jnp.zeros((1, 64, 64, 3))
    variables = variables_of(lambda: method.init(jax.random.key(0), example, method="predict"))
    predict = jax.jit(lambda image: method.apply(variables, image, method="predict"))
    with tempfile.TemporaryDirectory() as directory:
        files.write(directory, segformer.config_of(node), to_foreign(segformer.rules(node), variables), {})
        model = SegformerForSemanticSegmentation.from_pretrained(directory).eval()

    def network(features: Any) -> Any:
        logits = model(pixel_values=features).logits
        return torch.nn.functional.interpolate(logits, size=features.shape[2:], mode="bilinear", align_corners=False)

    def theirs(form: str) -> Callable[[np.ndarray], np.ndarray]:
        layout = torch.contiguous_format if form == "contiguous_format" else torch.channels_last
        chosen = torch.compile(network) if form == "compiled" else network

        def logits(image: np.ndarray) -> np.ndarray:
            return _logits(torch, chosen, torch.tensor(image.transpose(0, 3, 1, 2).copy()).contiguous(memory_format=layout))

        return logits

    return lambda image: np.asarray(predict(image)), theirs


NETS = {"unet": _unet, "segnet": _segnet, "segformer": _segformer}
