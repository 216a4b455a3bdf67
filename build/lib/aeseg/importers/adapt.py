"""Adapt weights to images with other channels, another patch size, or another grid of positions.

Leaves that cannot be adapted are kept, so that `training.checkpoints.graft` lists them with their shapes.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from aeseg import positions, tree

Grids = Mapping[str, tuple[tuple[int, int], tuple[int, int]]]
"""{part: (rows and columns of its position table, rows and columns to resize it to)}."""


def adapted(donor: Mapping[str, Any], model: Any, grids: Grids) -> tuple[dict[str, Any], list[str]]:
    """Adapt the leaves of `donor` to the shapes of `model` (arrays or shapes); return them and a message per adapted leaf.

    Between encoders with the same config, only two leaves differ: the first convolution, by channels or patch size, and the
    position table. Other differences are left unchanged and remain an error.
    """
    targets, lines = tree.flatten(model), []

    def fit(name: str, leaf: Any) -> Any:
        array, shape = np.asarray(leaf), tuple(targets[name].shape) if name in targets else np.shape(leaf)
        if array.shape == shape or array.ndim != len(shape) or array.shape[-1] != shape[-1]:
            return leaf
        part = name.split("/")[1]
        if name.endswith("/position_table") and part in grids:
            old, new = grids[part]
            lines.append(f"{name}: positions of a grid {_by(old)} resized to {_by(new)} (bicubic).")
            return np.asarray(positions.resized(array, old, new, leading=len(array) - old[0] * old[1]))
        if array.ndim == 4 and name.endswith("kernel"):
            if array.shape[:2] != shape[:2]:
                lines.append(f"{name}: patches of {_by(array.shape)} pixels resized to {_by(shape)} (pseudo-inverse, FlexiViT).")
                array = resized_patches(array, *shape[:2])
            if array.shape[2] != shape[2]:
                rule = "their sum" if shape[2] == 1 else f"channel i from i mod {array.shape[2]}, times {array.shape[2]}/{shape[2]}"
                lines.append(f"{name}: {array.shape[2]} channels to {shape[2]} ({rule}).")
                array = with_channels(array, shape[2])
            return array
        return leaf

    return tree.map_with_name(fit, dict(donor)), lines


def with_channels(kernel: Float[np.ndarray, "h w i o"], channels: int) -> Float[np.ndarray, "h w {channels} o"]:
    """Adapt the first convolution to another number of channels (timm's rule).

    One channel gets the sum over the old channels; of n channels, channel i gets w[i mod old] * old / n. If all channels of an
    image are equal, the output is unchanged for one channel and for multiples of the old number.
    """
    old = kernel.shape[2]
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(channels) % old] * np.float32(old / channels)


def resized_patches(kernel: Float[np.ndarray, "_ _ i o"], h: int, w: int) -> Float[np.ndarray, "{h} {w} i o"]:
    """Resize a patch embedding by FlexiViT's pseudo-inverse (Beyer et al. 2023, section 3.4, equation 5).

    For larger patches, a bilinearly enlarged patch keeps its embedding. For smaller patches, the embedding is the least-squares
    approximation over patches of independent pixels.
    """
    resizing = np.kron(_resizing(kernel.shape[0], h), _resizing(kernel.shape[1], w))  # new pixels, old pixels
    inverse = np.linalg.pinv(resizing.T)
    flat = inverse @ kernel.reshape(-1, kernel.shape[2] * kernel.shape[3])
    return flat.reshape(h, w, *kernel.shape[2:]).astype(kernel.dtype)


def _resizing(old: int, new: int) -> Float[np.ndarray, "{new} {old}"]:
    """Return the matrix that resizes a line of pixels bilinearly."""
    return np.asarray(jax.image.resize(jnp.eye(old), (new, old), "bilinear"), np.float64)


def _by(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
