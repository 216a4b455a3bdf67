"""The default networks of `pretrain` and `segment`, here and in PyTorch, from the same weights on the same batch.

denoiser    the default denoising autoencoder, 64 x 64, batch 16: squared error of an image from one with hidden squares
segmenter   the default U-Net, 64 x 64, batch 8: cross-entropy of the scenes' 8 classes
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from aeseg.data.sources.scenes import CLASSES
from aeseg.models.decoders import convolutional
from aeseg.models.encoders import convnet
from aeseg.models.heads import unet
from aeseg.spec import build

from .convolutional import Network
from .held import Held, flat, variables_of

NETWORKS = {"denoiser": (64, 16), "segmenter": (64, 8)}
"""{name: (side of the images, batch)}"""
RATE = 2e-3
SQUARE = 16
"""Side of the hidden squares; 6 of 10 are hidden, and a visible pixel's error counts 0.02, as in the default config."""

FORMS = ("channels_last", "contiguous_format", "compiled")
"""PyTorch's candidates: eager in two memory formats, and torch.compile with channels last."""

Loss = Callable[[], Any]


def networks(torch: Any, name: str, size: int) -> tuple[Callable[[Any], jax.Array], Any, dict[str, tuple[Loss, list[Any]]]]:
    """Return our loss of parameters, our parameters, and PyTorch's (loss, parameters) by form."""
    reader = convolutional.recipe("small") if name == "denoiser" else unet.recipe("small", classes=len(CLASSES))
    model = Network(build(convnet.recipe("small")), build(reader))
    random, rows = np.random.default_rng(0), NETWORKS[name][1]
    image = random.random((rows, size, size, 3), np.float32)
    shown = np.kron(random.random((rows, size // SQUARE, size // SQUARE)) > 0.6, np.ones((SQUARE, SQUARE)))[..., None].astype(np.float32)
    label = random.integers(0, len(CLASSES), (rows, size, size), np.int32)
    weight = np.where(shown > 0, 0.02, 1).astype(np.float32)
    given = image * shown if name == "denoiser" else image
    variables = variables_of(lambda: model.init(jax.random.key(0), jnp.asarray(image)))
    statistics = variables["batch_stats"]

    def loss(params: Any) -> jax.Array:
        value, _ = model.apply({"params": params, "batch_stats": statistics}, jnp.asarray(given), mutable=["batch_stats"])
        if name == "segmenter":
            return optax.softmax_cross_entropy_with_integer_labels(value[1], jnp.asarray(label)).mean()
        return jnp.mean(weight * jnp.square(nn.sigmoid(value) - image))

    arrays = {"given": given, "image": image, "weight": weight, "label": label}
    twins = {form: twin(torch, name, flat(variables["params"]), arrays, form) for form in FORMS}
    return loss, variables["params"], twins


def twin(torch: Any, name: str, weights: dict[str, np.ndarray], arrays: dict[str, np.ndarray], form: str) -> tuple[Loss, list[Any]]:
    """Return the same in PyTorch: its loss, and its parameters.  `form`: a memory format, or "compiled" (channels_last)."""
    functional, held = torch.nn.functional, Held(torch, weights, "channels_last" if form == "compiled" else form)
    given, image, weight = (held.features(arrays[key]) for key in ("given", "image", "weight"))
    label = torch.tensor(arrays["label"].astype(np.int64))

    def block(features: Any, path: str, index: int) -> Any:
        return held.normalise(held.convolve(features, f"{path}convolution{index}"), f"{path}norm{index}").relu()

    def encoded() -> tuple[dict[int, Any], Any]:
        features, skips = (given - 0.45) / 0.25, {}
        for level in range(3):
            skips[2**level] = block(block(features, f"encoder/level{level}/", 0), f"encoder/level{level}/", 1)
            features = functional.max_pool2d(skips[2**level], 2)
        return skips, block(block(features, "encoder/bottleneck_level/", 0), "encoder/bottleneck_level/", 1)

    def denoiser() -> Any:
        features = encoded()[1]
        for index in range(3):
            features = functional.interpolate(block(features, "reader/", index), scale_factor=2, mode="nearest")
        return (weight * (held.convolve(features, "reader/last").sigmoid() - image) ** 2).mean()

    def segmenter() -> Any:
        skips, features = encoded()
        for stride in (4, 2, 1):
            features = held.transpose(features, f"reader/up{stride}")
            features = block(torch.cat([skips[stride], features], dim=1), f"reader/level{stride}/", 0)
        return functional.cross_entropy(held.convolve(features, "reader/logits1"), label)

    loss = denoiser if name == "denoiser" else segmenter
    return torch.compile(loss) if form == "compiled" else loss, list(held.tensors.values())
