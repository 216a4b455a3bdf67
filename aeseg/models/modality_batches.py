"""Batches of several modalities: a check of their list, images without the others, and pictures of the aligned ones."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from aeseg.types import Batch, UserError


def check_modalities(modalities: tuple[nn.Module, ...], reader: str) -> None:
    """Raise UserError unless the image is first, each key occurs once, and none is the label."""
    named = [modality.key for modality in modalities]
    if named[:1] != ["image"] or len(set(named)) < len(named) or "label" in named:
        raise UserError(
            f"{reader} needs modalities with the image first, every key once, and no label; got {named}. Change method.modalities."
        )


def alone(image: Float[Array, "b h w c"], modalities: tuple[nn.Module, ...]) -> dict[str, Array]:
    """Return a batch of images whose other modalities are missing."""
    rows, h, w = image.shape[:3]
    batch = {"image": image, "valid": jnp.ones((rows,), bool)}
    for modality in modalities[1:]:
        zeros = modality.example(h, w)
        batch[modality.key] = jnp.zeros((rows, *zeros.shape[1:]), zeros.dtype)
        batch[f"has_{modality.key}"] = jnp.zeros((rows,), bool)
    return batch


def with_modalities(shown: dict[str, Array], batch: Batch, modalities: tuple[nn.Module, ...]) -> dict[str, Array]:
    """Add the aligned modalities to the pictures, after the image."""
    further = {f"image_{modality.key}": modality.seen(batch) for modality in modalities[1:] if hasattr(modality, "seen")}
    return {"image": shown["image"], **further, **shown}
