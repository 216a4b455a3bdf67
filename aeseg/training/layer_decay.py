"""Learning rates that fall towards the image: which layer a parameter belongs to, by its path."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aeseg import tree

FIRST = ("stem*", "patch*", "*position*", "*token*")
"""Parts of an encoder that come before its first layer."""

LAST = ("*norm*",)
"""Parts that come after its last one, as others without a number do."""

GROUP = 3
"""Blocks of a stage that share one layer (Liu et al. 2022, ConvNeXt, appendix A.1: 12 layers for depths 3, 3, 27, 3)."""


def layer_scales(params: Any, decay: float) -> Any:
    """The factor of each parameter's learning rate: decay^(top - layer).

    Layers count from 1; layer 0 holds what stands before the first (stem, positions, tokens).  `encoder/<name><number>/...`
    is one layer, or, where it holds blocks (`encoder/stage2/block5/...`), one for each three of them (Liu et al. 2022).  A
    stack `encoder/blocks/...` is one layer for each slice of its leading axis (Bao et al. 2022): its factors broadcast over
    the other axes.  What comes after the encoder's last layer, and all outside the encoder, is the top, one above it.
    """
    shapes = {name: np.shape(leaf) for name, leaf in tree.flatten(params).items()}
    first = _first_layers(shapes)
    found = {name: _layers(name, shape, first) for name, shape in shapes.items()}
    top = 1 + max((int(np.max(layer)) for layer in found.values() if layer is not None), default=0)

    def scale(name: str, _: Any) -> Any:
        layer = found[name]
        return decay ** (top - (top if layer is None else layer))

    return tree.map_with_name(scale, params)


def scale_by_layer(decay: float) -> optax.GradientTransformation:
    """Each update times its layer's factor."""

    def update(updates: Any, state: Any, params: Any) -> tuple[Any, Any]:
        return jax.tree.map(lambda scale, leaf: jnp.asarray(scale, leaf.dtype) * leaf, layer_scales(params, decay), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _layers(name: str, shape: tuple[int, ...], first: dict[int, int]) -> int | np.ndarray | None:
    """The layer of a parameter, those of a stack's slices as [depth, 1, ...], or None for the top."""
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
    """{number of a stage: its first layer}."""
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
    """Which block of its stage: a number, or those of a stack as [depth, 1, ...]; 0 for what belongs to no block."""
    if len(parts) < 3:
        return 0
    if parts[2] == "blocks":
        return np.arange(shape[0]).reshape(-1, *(1,) * (len(shape) - 1))
    return (_number(parts[2]) or 0) if parts[2].startswith("block") else 0


def _number(part: str) -> int | None:
    found = re.search(r"(\d+)$", part)
    return int(found.group(1)) if found and not tree.matches(part, LAST) else None
