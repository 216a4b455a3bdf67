"""Position tables of patch grids: fixed ones of sines and cosines, and learned ones in another size.

A table is [leading + h * w, d]: rows for leading tokens (a class token's) first, then the grid's in reading order.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aeseg.types import UserError

CUBIC = -0.75
"""The parameter of bicubic interpolation, as in torch (`jax.image.resize` has -0.5)."""


def sine_cosine(h: int, w: int, width: int, leading: int = 0) -> Float[np.ndarray, "_ {width}"]:
    """The fixed table of MAE (He et al. 2022, appendix A.1, "the sine-cosine version"), for any grid; leading rows are 0.

    Half the numbers say the column and half the row, as in the reference implementation, the column first; each half is sin(p f),
    then cos(p f), with frequencies f = 10000^(-i / (width / 4)) (Vaswani et al. 2017, section 3.5).
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


def resized(
    table: Float[Array | np.ndarray, "n d"], old: tuple[int, int], new: tuple[int, int], leading: int = 0
) -> Float[Array | np.ndarray, "_ d"]:
    """The table of an `old` grid (rows, columns) for a `new` one: bicubic, as torch's `interpolate(mode="bicubic")`.

    Leading rows stay as they are; so does everything where the grids are equal.
    """
    if table.shape[0] != leading + old[0] * old[1]:
        raise UserError(
            f"A table for a grid of {old[0]} x {old[1]} with {leading} leading rows has {leading + old[0] * old[1]} rows; "
            f"this one has {table.shape[0]}. Set `grid` to the grid that it was made for."
        )
    if old == new:
        return table
    grid = jnp.asarray(table[leading:]).reshape(*old, -1)
    grid = jnp.einsum("yh,xw,hwd->yxd", _cubic(old[0], new[0]), _cubic(old[1], new[1]), grid, precision="highest")
    return jnp.concatenate([table[:leading], grid.reshape(new[0] * new[1], -1)])


def _cubic(old: int, new: int) -> Float[np.ndarray, "{new} {old}"]:
    """The matrix that interpolates `old` points at `new` places: half-pixel centres, the border point goes on beyond it."""
    place = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(place).astype(int)
    matrix = np.zeros((new, old))
    for tap in range(-1, 3):
        distance = np.abs(place - (first + tap))
        near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
        far = CUBIC * (((distance - 5) * distance + 8) * distance - 4)
        np.add.at(matrix, (np.arange(new), np.clip(first + tap, 0, old - 1)), np.where(distance <= 1, near, far))
    return matrix.astype(np.float32)
