"""Convolutional networks in aeseg and in PyTorch, with the same weights on the same batch.

autoencoder   the reference's, 64-128-256 channels, binary cross-entropy
unet          64 to 1024 channels, cross-entropy of 11 classes
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from aeseg.models import layers
from aeseg.models.decoders import convolutional
from aeseg.models.encoders import convnet
from aeseg.models.heads import unet
from aeseg.spec import build

from .held import Held, flat, variables_of

CLASSES = 11
NETWORKS = {"autoencoder": (256, 4), "unet": (128, 4)}
"""{name: (side of the images, batch)}"""
RATE = 1e-3


def networks(torch: Any, name: str, size: int) -> tuple[Callable[[Any], jax.Array], Any, dict[str, tuple[Callable[[], Any], list[Any]]]]:
    """Return our loss of parameters, our parameters, and PyTorch's (loss, parameters) by memory format."""
    model = Network(build(convnet.recipe("unet" if name == "unet" else "reference")), reader(name))
    random, rows = np.random.default_rng(0), NETWORKS[name][1]
    image = random.random((rows, size, size, 3), np.float32)
    target = random.integers(0, CLASSES, (rows, size, size), np.int32) if name == "unet" else image
    variables = variables_of(lambda: model.init(jax.random.key(0), jnp.asarray(image)))
    images, targets = jnp.asarray(image), jnp.asarray(target)

    def loss(params: Any) -> jax.Array:
        value = model.apply({"params": params}, images)
        if isinstance(value, dict):
            return optax.softmax_cross_entropy_with_integer_labels(value[1], targets).mean()
        return optax.sigmoid_binary_cross_entropy(value, targets).mean()

    def twin(layout: str) -> tuple[Callable[[], Any], list[Any]]:
        functional, held = torch.nn.functional, Held(torch, flat(variables["params"]), layout)
        given, wanted = held.features(image), torch.tensor(target.astype(np.int64)) if name == "unet" else held.features(target)

        def theirs() -> Any:
            if name == "unet":
                return functional.cross_entropy(unet_logits(held, given), wanted)
            return functional.binary_cross_entropy_with_logits(autoencoder_logits(held, given), wanted)

        return theirs, list(held.tensors.values())

    return loss, variables["params"], {layout: twin(layout) for layout in ("channels_last", "contiguous_format")}


class Network(nn.Module):
    """An encoder, and the decoder or head that reads its pyramid."""

    encoder: nn.Module
    reader: nn.Module

    @nn.compact
    def __call__(self, image: jax.Array, train: bool = True) -> Any:
        return self.reader(self.encoder(image, train=train), train=train)


def reader(name: str) -> nn.Module:
    """Return the decoder or head of a network."""
    return build(unet.recipe("reference", classes=CLASSES) if name == "unet" else convolutional.recipe("reference"))


def autoencoder_logits(held: Held, features: Any) -> Any:
    """Return the reconstruction's logits."""
    functional = held.torch.nn.functional
    for level in range(3):
        features = functional.max_pool2d(held.convolve(features, f"encoder/level{level}/convolution0").relu(), 2)
    for index in range(3):
        features = functional.interpolate(held.convolve(features, f"reader/convolution{index}").relu(), scale_factor=2, mode="nearest")
    return held.convolve(features, "reader/last")


def unet_logits(held: Held, features: Any) -> Any:
    """Return the logits of a U-Net without norms."""
    torch = held.torch

    def two(features: Any, path: str) -> Any:
        return held.convolve(held.convolve(features, f"{path}/convolution0").relu(), f"{path}/convolution1").relu()

    skips = {}
    for level in range(4):
        skips[2**level] = two(features, f"encoder/level{level}")
        features = torch.nn.functional.max_pool2d(skips[2**level], 2)
    features = two(features, "encoder/bottleneck_level")
    for stride in (8, 4, 2, 1):
        features = two(torch.cat([skips[stride], held.transpose(features, f"reader/up{stride}")], dim=1), f"reader/level{stride}")
    return held.convolve(features, "reader/logits1")


@contextlib.contextmanager
def plain_layers() -> Iterator[None]:
    """Trace `layers` with XLA's plain operations inside the block, without aeseg's faster forms."""

    def convolve(image: jax.Array, kernel: jax.Array, stride: int = 1, padding: layers.Padding | None = None) -> jax.Array:
        return lax.conv_general_dilated(image, kernel, (stride, stride), padding or "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def up_convolve(image: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.conv_transpose(image, kernel[::-1, ::-1], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    plain = {
        "convolve": convolve,
        "upsample_convolve": lambda image, kernel: convolve(layers.upsample(image), kernel),
        "up_convolve": up_convolve,
        "max_pool": lambda image: nn.max_pool(image, (2, 2), (2, 2)),
    }
    fast = {name: getattr(layers, name) for name in plain}
    try:
        for name, function in plain.items():
            setattr(layers, name, function)
        yield
    finally:
        for name, function in fast.items():
            setattr(layers, name, function)
