"""Layer-wise learning rate decay. The path of a parameter gives its layer."""

import re
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aeseg import tree

FIRST = ("stem*", "patch*", "*position*", "*token*")
"""Parts of an encoder before its first layer."""

LAST = ("*norm*",)
"""Parts after its last layer. Other parts without a number count as such."""

DEEPEST = ("bottleneck", "bottleneck_level")
"""Parts that form one more layer after all numbered levels: the bottlenecks of `ConvNet` and `FCDenseNet`."""

GROUP = 3
"""Number of blocks of a stage that share one layer (Liu et al. 2022, ConvNeXt, appendix A.1: 12 layers for depths 3, 3, 27, 3)."""


def layer_scales(params: Any, decay: float) -> Any:
    """Return the learning rate factor of each parameter: decay^(top - layer).

    Layers count from 1. Layer 0 holds the stem, positions and tokens. `encoder/<name><number>/...` is one layer, or, if it has
    blocks (`encoder/stage2/block5/...`), one layer per three blocks (Liu et al. 2022). A stack `encoder/blocks/...` is one layer
    per slice of its leading axis (Bao et al. 2022); its factors broadcast over the other axes. The bottleneck of a
    `ConvNet` is one layer after its levels. Parts after the last layer of the encoder, and all parts outside the encoder, are the top:
    one above the last layer.
    """
    shapes = {name: np.shape(leaf) for name, leaf in tree.flatten(params).items()}
    first = _first_layers(shapes)
    layers = {name: _layers(name, shape, first) for name, shape in shapes.items()}
    top = 1 + max((int(np.max(layer)) for layer in layers.values() if layer is not None), default=0)

    def scale(name: str, _: Any) -> Any:
        layer = layers[name]
        return decay ** (top - (top if layer is None else layer))

    return tree.map_with_name(scale, params)


def scale_by_layer(decay: float) -> optax.GradientTransformation:
    """Scale each update by the factor of its layer, `layer_scales`."""

    def update(updates: Any, state: Any, params: Any) -> tuple[Any, Any]:
        return jax.tree.map(lambda scale, leaf: jnp.asarray(scale, leaf.dtype) * leaf, layer_scales(params, decay), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _layers(name: str, shape: tuple[int, ...], first: dict[int, int]) -> int | np.ndarray | None:
    """Return the layer of a parameter, the layers of a stack as [depth, 1, ...], or None for the top."""
    parts = name.split("/")
    if parts[0] != "encoder":
        return None
    if parts[1] == "blocks":
        return np.arange(1, shape[0] + 1).reshape(-1, *(1,) * (len(shape) - 1))
    if tree.matches(parts[1], FIRST):
        return 0
    number = _number(parts[1])
    return None if number is None else first[number] + _block(parts, shape) // GROUP


def _first_layers(shapes: dict[str, tuple[int, ...]]) -> dict[int, int]:
    """Return {number of a stage: its first layer}."""
    last: dict[int, int] = {}
    for name, shape in shapes.items():
        parts = name.split("/")
        number = _number(parts[1]) if parts[0] == "encoder" else None
        if number is not None:
            last[number] = max(last.get(number, 0), int(np.max(_block(parts, shape))) // GROUP)
    first, layer = {}, 1
    for number in sorted(last):
        first[number] = layer
        layer += 1 + last[number]
    return first


def _block(parts: list[str], shape: tuple[int, ...]) -> int | np.ndarray:
    """Return the index of a block in its stage, or the indices of a stack as [depth, 1, ...]; 0 outside blocks."""
    if len(parts) < 3:
        return 0
    if parts[2] == "blocks":
        return np.arange(shape[0]).reshape(-1, *(1,) * (len(shape) - 1))
    return (_number(parts[2]) or 0) if parts[2].startswith("block") else 0


def _number(part: str) -> int | None:
    if part in DEEPEST:
        return sys.maxsize
    digits = re.search(r"(\d+)$", part)
    return int(digits.group(1)) if digits and not tree.matches(part, LAST) else None
