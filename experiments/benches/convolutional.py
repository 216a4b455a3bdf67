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

from aeseg import tree
from aeseg.models import layers
from aeseg.models.decoders import convolutional
from aeseg.models.encoders import convnet
from aeseg.models.heads import unet
from aeseg.spec import build

CLASSES = 11
BATCH = 4
RATE = 1e-3


def networks(torch: Any, name: str, size: int) -> tuple[Callable[[Any], jax.Array], Any, dict[str, tuple[Callable[[], Any], list[Any]]]]:
    """Return our loss of parameters, our parameters, and PyTorch's (loss, parameters) by memory format."""
    model = Network(build(convnet.recipe("unet" if name == "unet" else "reference")), reader(name))
    random = np.random.default_rng(0)
    image = random.random((BATCH, size, size, 3), np.float32)
    target = random.integers(0, CLASSES, (BATCH, size, size), np.int32) if name == "unet" else image
    variables = jax.jit(model.init)(jax.random.key(0), image)
    weights = {path: np.array(leaf) for path, leaf in tree.flatten(variables["params"]).items()}
    images, targets = jnp.asarray(image), jnp.asarray(target)

    def loss(params: Any) -> jax.Array:
        value = model.apply({"params": params}, images)
        if isinstance(value, dict):
            return optax.softmax_cross_entropy_with_integer_labels(value[1], targets).mean()
        return optax.sigmoid_binary_cross_entropy(value, targets).mean()

    formats = {each: getattr(torch, each) for each in ("channels_last", "contiguous_format")}
    return loss, variables["params"], {each: twin(torch, name, weights, image, target, chosen) for each, chosen in formats.items()}


class Network(nn.Module):
    """An encoder, and the decoder or head that reads its pyramid."""

    encoder: nn.Module
    reader: nn.Module

    @nn.compact
    def __call__(self, image: jax.Array) -> Any:
        return self.reader(self.encoder(image, train=True), train=True)


def reader(name: str) -> nn.Module:
    """Return the decoder or head of a network."""
    return build(unet.recipe("reference", classes=CLASSES) if name == "unet" else convolutional.recipe("reference"))


def twin(
    torch: Any, name: str, weights: dict[str, np.ndarray], image: np.ndarray, target: np.ndarray, memory_format: Any
) -> tuple[Callable[[], Any], list[Any]]:
    """Return the loss and the parameters of the same network in PyTorch, with the same weights."""
    functional = torch.nn.functional

    def tensor(array: np.ndarray) -> Any:
        ordered = torch.tensor(array.transpose(0, 3, 1, 2) if array.ndim == 4 else array)
        return ordered.contiguous(memory_format=memory_format) if ordered.dim() == 4 else ordered

    parameters = {}
    for path, leaf in weights.items():
        up = path.split("/")[-2].startswith("up")  # ConvTranspose2d's kernel is (in, out, height, width)
        parameters[path] = tensor(
            leaf.transpose(2, 0, 1, 3) if up and leaf.ndim == 4 else leaf.transpose(3, 0, 1, 2) if leaf.ndim == 4 else leaf
        )
        parameters[path].requires_grad_()
    image, target = tensor(image), tensor(target.astype(np.int64) if name == "unet" else target)

    def convolve(features: Any, path: str) -> Any:
        kernel = parameters[f"{path}/kernel"]
        return functional.conv2d(features, kernel, parameters[f"{path}/bias"], padding=kernel.shape[-1] // 2)

    def autoencoder(features: Any) -> Any:
        for level in range(3):
            features = functional.max_pool2d(convolve(features, f"encoder/level{level}/convolution0").relu(), 2)
        for index in range(3):
            features = convolve(features, f"reader/convolution{index}").relu()
            features = functional.interpolate(features, scale_factor=2, mode="nearest")
        return convolve(features, "reader/last")

    def two(features: Any, path: str) -> Any:
        return convolve(convolve(features, f"{path}/convolution0").relu(), f"{path}/convolution1").relu()

    def expanded(features: Any) -> Any:
        skips = {}
        for level in range(4):
            skips[2**level] = two(features, f"encoder/level{level}")
            features = functional.max_pool2d(skips[2**level], 2)
        features = two(features, "encoder/bottleneck_level")
        for stride in (8, 4, 2, 1):
            up = f"reader/up{stride}"
            features = functional.conv_transpose2d(features, parameters[f"{up}/kernel"], parameters[f"{up}/bias"], stride=2)
            features = two(torch.cat([skips[stride], features], dim=1), f"reader/level{stride}")
        return convolve(features, "reader/logits1")

    def loss() -> Any:
        if name == "unet":
            return functional.cross_entropy(expanded(image), target)
        return functional.binary_cross_entropy_with_logits(autoencoder(image), target)

    return loss, list(parameters.values())


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
