"""Position tables of patch grids: fixed sine-cosine tables, and learned tables resized to another grid.

A table is [leading + h * w, d]: first the rows of leading tokens (a class token), then the grid in row-major order.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aeseg.types import UserError

CUBIC = -0.75
"""Parameter of bicubic interpolation, as in torch (`jax.image.resize` uses -0.5)."""


def sine_cosine(h: int, w: int, width: int, leading: int = 0) -> Float[np.ndarray, "_ {width}"]:
    """Fixed sine-cosine table of MAE (He et al. 2022, appendix A.1), for any grid; leading rows are 0.

    As in the reference implementation, the first half of a row encodes the column and the second half the row of the grid. Each
    half is sin(p f), then cos(p f), with frequencies f = 10000^(-i / (width / 4)) (Vaswani et al. 2017, section 3.5).

    >>> sine_cosine(2, 3, width=8, leading=1).shape
    (7, 8)
    """
    if width % 4:
        raise UserError(f"A sine-cosine table has a width divisible by 4; got {width}. Change width, or set positions='learned'.")
    frequency = 10000.0 ** (-np.arange(width // 4) / (width // 4))

    def line(n: int) -> np.ndarray:
        angle = np.arange(n)[:, None] * frequency
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)  # n, width / 2

    columns = np.broadcast_to(line(w)[None], (h, w, width // 2))
    rows = np.broadcast_to(line(h)[:, None], (h, w, width // 2))
    table = np.concatenate([columns, rows], axis=2).reshape(h * w, width)
    return np.concatenate([np.zeros((leading, width)), table]).astype(np.float32)


def rotary(h: int, w: int, width: int, base: float = 100.0) -> Float[np.ndarray, "_ {width}"]:
    """Angles by which the patches of a grid rotate queries and keys of `width` channels, in DINOv3's form (Siméoni et al. 2025).

    A patch's centre lies at (y, x) in [-1, 1]. Its angles are 2 pi y f, then 2 pi x f, with frequencies f = base^(-4 i / width) for
    i < width / 4; the second half of the channels repeats the first (see `transformer.rotated`).
    """
    if width % 4:
        raise UserError(f"Rotary positions need heads of a width divisible by 4; got {width}. Change width or heads.")
    frequency = base ** (-np.arange(width // 4) * 4 / width)
    y, x = (2 * (np.arange(side) + 0.5) / side - 1 for side in (h, w))
    centres = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(h * w, 2, 1)
    angles = (2 * np.pi * centres * frequency).reshape(h * w, width // 2)
    return np.concatenate([angles, angles], axis=1).astype(np.float32)


def resized(
    table: Float[Array | np.ndarray, "n d"], old: tuple[int, int], new: tuple[int, int], leading: int = 0, antialias: bool = False
) -> Float[Array | np.ndarray, "_ d"]:
    """Resize the table of an `old` grid (rows, columns) to a `new` grid: bicubic, as torch's `interpolate(mode="bicubic")`.

    Leading rows are kept. If the grids are equal, the table is returned unchanged. `antialias` widens the filter where the new grid is
    smaller, as torch's `antialias=True`.
    """
    if table.shape[0] != leading + old[0] * old[1]:
        raise UserError(
            f"A table for a grid of {old[0]} x {old[1]} with {leading} leading rows has {leading + old[0] * old[1]} rows; "
            f"got {table.shape[0]}. Set `grid` to the grid of the table."
        )
    if old == new:
        return table
    grid = jnp.asarray(table[leading:]).reshape(*old, -1)
    matrix = _smooth_cubic if antialias else _cubic
    grid = jnp.einsum("yh,xw,hwd->yxd", matrix(old[0], new[0]), matrix(old[1], new[1]), grid, precision="highest")
    return jnp.concatenate([table[:leading], grid.reshape(new[0] * new[1], -1)])


def _cubic(old: int, new: int) -> Float[np.ndarray, "{new} {old}"]:
    """Return the matrix that interpolates `old` points at `new` positions: half-pixel centres, edge points repeated."""
    position = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(position).astype(int)
    matrix = np.zeros((new, old))
    for tap in range(-1, 3):
        distance = np.abs(position - (first + tap))
        near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
        far = CUBIC * (((distance - 5) * distance + 8) * distance - 4)
        np.add.at(matrix, (np.arange(new), np.clip(first + tap, 0, old - 1)), np.where(distance <= 1, near, far))
    return matrix.astype(np.float32)


def _smooth_cubic(old: int, new: int) -> Float[np.ndarray, "{new} {old}"]:
    """Return the matrix of bicubic interpolation with a filter as wide as the new spacing, as in Pillow and torch's `antialias=True`.

    The filter has the parameter -0.5 (Keys 1981) and is normalised at the edges.
    """
    scale = max(1.0, old / new)
    distance = np.abs((np.arange(new)[:, None] + 0.5) * old / new - 0.5 - np.arange(old)) / scale
    near, far = 1.5 * distance**3 - 2.5 * distance**2 + 1, -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    matrix = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)
