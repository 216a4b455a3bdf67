"""Common functions of modalities: the records that have one, patches of aligned planes, and their embedding."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from aeseg import images, positions
from aeseg.models import layers, transformer
from aeseg.types import Batch, UserError


def read(batch: Batch, key: str, reader: str) -> Array:
    """Return the array of a modality; UserError if the batch has none."""
    if key not in batch:
        has = ", ".join(sorted(name for name in batch if name not in ("valid", "index")))
        raise UserError(f"{reader} reads {key!r}; the batch has {has}. Take a data set with {key}, or take {reader} out of modalities.")
    return jnp.asarray(batch[key])


def recorded(batch: Batch, key: str) -> Bool[Array, "b"]:
    """Return which records have the modality: `has_<key>`, or all."""
    return jnp.asarray(batch.get(f"has_{key}", jnp.ones(batch["valid"].shape, bool)))


def patch_grid(array: Num[Array, "b h w *c"], patch: int, reader: str) -> tuple[int, int]:
    """Return the rows and columns of patches of aligned planes."""
    layers.check_size(array.reshape(*array.shape[:3], -1).astype(jnp.float32), patch, f"{reader} with patches of {patch}", "another patch")
    return array.shape[1] // patch, array.shape[2] // patch


def patches(array: Float[Array, "b h w *c"], patch: int) -> Float[Array, "b n p"]:
    """Return the numbers of each patch, in reading order."""
    squares = images.patches(array.reshape(*array.shape[:3], -1), patch)
    return squares.reshape(array.shape[0], -1, squares.shape[-1])


def embedded(values: Float[Array, "b n p"], grid: tuple[int, int], width: int, dtype: str) -> Float[Array, "b n {width}"]:
    """Apply a linear layer and add fixed positions (Bachmann et al. 2022, section 3.1).  Call inside a compact method."""
    tokens = layers.Dense(width, kernel_init=transformer.XAVIER, dtype=dtype, name="embed")(values.astype(dtype))
    return tokens + jnp.asarray(positions.sine_cosine(*grid, width), dtype)[None]  # type: ignore[call-arg]


def pasted(
    values: Float[Array, "b n p"], own: Float[Array, "b n p"], visible: Bool[Array, "b n"], grid: tuple[int, int], patch: int
) -> Float[Array, "b _ _ c"]:
    """Return the image of patches: true patches if visible, else predicted patches."""
    chosen = jnp.where(visible[..., None], own, values)
    return images.from_patches(chosen.reshape(chosen.shape[0], *grid, -1), patch)
