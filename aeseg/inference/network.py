"""A trained method as a function of images: what `sliding` calls."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from aeseg import images
from aeseg.inference.sliding import Predict
from aeseg.types import UserError


def is_segmenter(method: nn.Module) -> bool:
    """Whether the method gives logits for an image; otherwise it is an autoencoder."""
    return hasattr(method, "predict")


def logits(method: nn.Module, variables: Any) -> Predict:
    """[b h w c] uint8, or float in [0, 1] -> the segmenter's logits [b h w k]; compiled once for each shape."""

    def apply(variables: Any, image: jax.Array) -> jax.Array:
        return method.apply(variables, images.as_float(image), method="predict")

    return _function(apply, variables)


def reconstruction(method: nn.Module, variables: Any) -> Predict:
    """[b h w c] uint8, or float in [0, 1] -> what the autoencoder makes of it, in [0, 1]; compiled once for each shape."""

    def apply(variables: Any, image: jax.Array) -> jax.Array:
        rows = image.shape[0]
        batch = {"image": images.as_float(image), "valid": jnp.ones((rows,), bool), "index": jnp.arange(rows, dtype=jnp.int32)}
        shown = method.apply(variables, batch, method="show")
        if "reconstruction" not in shown:
            raise UserError(
                f"Expected a method that shows a reconstruction; {type(method).__name__} shows {', '.join(shown)}. "
                "Name the --workdir of an autoencoder or of a segmentation run."
            )
        return shown["reconstruction"]

    return _function(apply, variables)


def _function(apply: Any, variables: Any) -> Predict:
    compiled, placed = jax.jit(apply), jax.device_put(variables)
    return lambda image: np.asarray(compiled(placed, image))
