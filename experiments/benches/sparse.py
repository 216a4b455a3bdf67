"""FCMAE and SparK in aeseg and in PyTorch, with the same weights, images and hidden units.

fcmae    ConvNeXt V2 atto, 224 x 224, batch 8, units of 32 pixels
spark    ResNet-50, 224 x 224, batch 8, units of 32 pixels

Both are without drop path.  Every step hides the same units.  PyTorch multiplies features by the mask, as the authors' dense code does,
and SparK's batch norm gathers the visible positions, as theirs does.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeseg import images
from aeseg.methods import fcmae, spark
from aeseg.models import layers
from aeseg.spec import build

from .held import Held, flat, variables_of

NETWORKS = {"fcmae": (224, 8), "spark": (224, 8)}
"""{name: (side of the images, batch)}"""
RATE = 1e-5
FORMS = ("channels_last", "contiguous_format")


def networks(torch: Any, name: str, size: int, node: Any = None) -> tuple[Callable[[Any], jax.Array], Any, dict[str, Any]]:
    """Return our loss of parameters, our parameters, and PyTorch's (loss, parameters) by form; `node`: the spec of another size."""
    node = node or (spark.recipe("resnet50") if name == "spark" else fcmae.recipe("atto"))
    node.encoder.update({"mean": (0.0,), "std": (1.0,), "drop_path": 0.0})
    method, rows = build(node), NETWORKS[name][1]
    image = np.random.default_rng(0).random((rows, size, size, 3), np.float32)
    batch = {"image": jnp.asarray(image), "valid": jnp.ones(rows, bool), "index": jnp.arange(rows, dtype=jnp.int32)}
    rngs = {"hidden": jax.random.key(1)}
    variables = variables_of(lambda: method.init({"params": jax.random.key(0), **rngs}, batch, train=True))
    hidden = np.asarray(method.apply(variables, batch, True, method="_hidden", rngs=rngs))
    seen = images.patches(layers.standardise(batch["image"], (0.0,), (1.0,)), method.unit)
    mean, deviation = images.patch_statistics(seen)
    target = np.asarray((seen - mean) / deviation)

    def loss(params: Any) -> jax.Array:
        means, _ = method.apply({**variables, "params": params}, batch, train=True, rngs=rngs, mutable=["batch_stats"])
        return means["squared_error"].value()

    weights = flat(variables["params"])
    predict = resnet_values if name == "spark" else convnext_values

    def twin(form: str) -> tuple[Callable[[], Any], list[Any]]:
        held = Held(torch, weights, form)
        given, masked, wanted = held.features(image), torch.tensor(hidden), torch.tensor(target)

        def theirs() -> Any:
            return ((predict(held, given, ~masked, method.unit) - wanted)[masked] ** 2).mean()

        return theirs, list(held.tensors.values())

    return loss, variables["params"], {form: twin(form) for form in FORMS}


def spread(visible: Any, features: Any) -> Any:
    """Return the visible units [b i j] at the resolution of features [b c h w], as [b 1 h w]."""
    factor = features.shape[2] // visible.shape[1]
    return visible.repeat_interleave(factor, 1).repeat_interleave(factor, 2)[:, None]


def convnext_values(held: Held, image: Any, visible: Any, unit: int) -> Any:
    """Return FCMAE's prediction of each unit [b i j p]."""
    torch, encoder, decoder = held.torch, held.within("encoder"), held.within("decoder")
    functional = torch.nn.functional

    def normed(part: Held, features: Any, name: str) -> Any:
        return part.layer_norm(features.permute(0, 2, 3, 1), name).permute(0, 3, 1, 2)

    def block(part: Held, features: Any, shown: Any = 1) -> Any:
        branch = part.convolve(features, "depthwise", groups=features.shape[1]).permute(0, 2, 3, 1)
        branch = functional.gelu(part.linear(part.layer_norm(branch, "norm"), "expand"))
        branch = branch * shown.permute(0, 2, 3, 1) if torch.is_tensor(shown) else branch
        norm = torch.norm(branch, p=2, dim=(1, 2), keepdim=True)
        response = norm / (norm.mean(dim=-1, keepdim=True) + 1e-6)
        branch = part["response/gamma"] * (branch * response) + part["response/beta"] + branch
        return (features + part.linear(branch, "reduce").permute(0, 3, 1, 2)) * shown

    features = image * spread(visible, image)
    features = encoder.convolve(features, "stem", stride=encoder["stem/kernel"].shape[-1], padding=0)
    features = normed(encoder, features, "stem_norm") * spread(visible, features)
    stages = sum(path.endswith("block0/norm/scale") and path.startswith("encoder") for path in held.tensors)
    for number in range(stages):
        stage, index = encoder.within(f"stage{number}"), 0
        if number:
            features = normed(stage, features, "down_norm") * spread(visible, features)
            features = stage.convolve(features, "down", stride=2, padding=0)
            features = features * spread(visible, features)
        while f"{stage.scope}block{index}/norm/scale" in held.tensors:
            features = block(stage.within(f"block{index}"), features, spread(visible, features))
            index += 1
    features = decoder.linear(features.permute(0, 2, 3, 1), "projection")
    features = torch.where(visible[..., None], features, decoder["mask_token"]).permute(0, 3, 1, 2)
    return decoder.linear(block(decoder.within("block0"), features).permute(0, 2, 3, 1), "pixels")


def resnet_values(held: Held, image: Any, visible: Any, unit: int) -> Any:
    """Return SparK's prediction of each unit [b i j p]: a ResNet with bottlenecks, and the light decoder."""
    torch, encoder, decoder = held.torch, held.within("encoder"), held.within("decoder")
    functional = torch.nn.functional

    def normed(part: Held, features: Any, name: str) -> Any:
        """Normalise the visible positions by their own statistics; hidden ones become 0."""
        shown, rows = spread(visible, features)[:, 0], features.permute(0, 2, 3, 1)
        made = torch.zeros_like(rows)
        made[shown] = part.normalise(rows[shown], name)
        return made.permute(0, 3, 1, 2)

    def block(part: Held, features: Any, stride: int) -> Any:
        branch = normed(part, part.convolve(features, "convolution1"), "norm1").relu()
        branch = normed(part, part.convolve(branch, "convolution2", stride=stride), "norm2").relu()
        branch = normed(part, part.convolve(branch, "convolution3"), "norm3")
        if f"{part.scope}shortcut/kernel" in held.tensors:
            features = normed(part, part.convolve(features, "shortcut", stride=stride), "shortcut_norm")
        return (features + branch).relu()

    features = encoder.convolve(image * spread(visible, image), "stem", stride=2)
    features = functional.max_pool2d(normed(encoder, features, "stem_norm").relu(), 3, 2, 1)
    features, pyramid = features * spread(visible, features), {}
    for number in range(1, 5):
        stage, index = encoder.within(f"stage{number}"), 0
        while f"{stage.scope}block{index}/norm1/scale" in held.tensors:
            features = block(stage.within(f"block{index}"), features, 1 if index or number == 1 else 2)
            index += 1
        pyramid[2 ** (1 + number)] = features

    def projected(stride: int) -> Any:
        dense = normed(decoder, pyramid[stride], f"densify_norm{stride}")
        dense = torch.where(spread(visible, dense), dense, decoder[f"mask_token{stride}"][None, :, None, None])
        return decoder.convolve(dense, f"projection{stride}")

    stride = max(pyramid)
    features = projected(stride)
    while stride > 1:
        if stride < max(pyramid) and stride in pyramid:
            features = features + projected(stride)
        features = decoder.transpose(features, f"up{stride}", padding=1)
        features = decoder.normalise(decoder.convolve(features, f"first{stride}"), f"first{stride}_norm").clamp(0, 6)
        features = decoder.normalise(decoder.convolve(features, f"second{stride}"), f"second{stride}_norm")
        stride //= 2
    pixels = decoder.convolve(features, "pixels")
    b, c, h, w = pixels.shape
    units = pixels.permute(0, 2, 3, 1).reshape(b, h // unit, unit, w // unit, unit, c)
    return units.permute(0, 1, 3, 2, 4, 5).reshape(b, h // unit, w // unit, unit * unit * c)
