"""Monte Carlo dropout (Bayesian SegNet): mean and uncertainty of predictions sampled with dropout."""

import zlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32, Key, Shaped

from aeseg import keys
from aeseg.types import UserError

PLANES = 1
"""Number of planes after the classes in the result of `sampled`: the uncertainty."""

Logits = Callable[[Key[Array, ""], Shaped[Array, "1 h w c"]], Float[Array, "1 h w k"]]
"""A network in evaluation whose dropout draws from the key, passed as the stream keys.MONTE_CARLO."""


def sampled(logits: Logits, image: Shaped[Array, "b h w c"], index: Int[Array, "b"], seed: int, samples: int) -> Float[Array, "b h w _"]:
    """Return the log of the mean softmax over `samples` draws, with the uncertainty of each pixel after the classes.

    Kendall et al. 2015 (arXiv 1511.02680), section 3: the uncertainty is the variance of the softmax over the draws, averaged over
    the classes; the paper draws 40. A row's dropout depends only on `seed` and `index`. Mean and variance are updated after each
    draw (Welford 1962), so that equal draws have variance exactly 0.
    """
    shape = _checked_shape(logits, image)
    root = jax.random.key(seed)

    def drawn(sample: Array, moments: tuple[Array, Array]) -> tuple[Array, Array]:
        mean, squares = moments
        rows = keys.per_row(keys.stream(root, keys.MONTE_CARLO, sample), index)
        probabilities = jax.nn.softmax(jax.vmap(lambda key, row: logits(key, row[None])[0])(rows, image))
        difference = probabilities - mean
        mean = mean + difference / (sample + 1)
        return mean, squares + difference * (probabilities - mean)

    zeros = jnp.zeros((len(image), *shape[1:]), jnp.float32)
    mean, squares = jax.lax.fori_loop(0, samples, drawn, (zeros, zeros))
    variance = jnp.mean(squares / samples, axis=-1, keepdims=True)
    return jnp.concatenate([jnp.log(jnp.maximum(mean, jnp.finfo(jnp.float32).tiny)), variance], axis=-1)


def fingerprints(images: Shaped[np.ndarray, "b h w c"]) -> Int32[np.ndarray, "b"]:
    """Hash the pixels of each image. As `index` of `sampled`, the hash gives an image the same draws in every call."""
    return np.array([zlib.crc32(np.ascontiguousarray(image).data) for image in images], np.uint32).view(np.int32)


def _checked_shape(logits: Logits, image: Array) -> tuple[int, ...]:
    """Return the shape of one row's logits; UserError if the network has no active dropout."""
    dropping = []

    def note(method: Callable[..., Any], arguments: Any, keywords: Any, context: Any) -> Any:
        dropping.append(isinstance(context.module, nn.Dropout) and _draws(context.module))
        return method(*arguments, **keywords)

    with nn.intercept_methods(note):
        output = jax.eval_shape(logits, jax.random.key(0), image[:1])
    if not any(dropping):
        raise UserError(
            "Samples need a network with dropout; this one has none, or rate 0 (drop path is for training). "
            "Set samples to 0, or train with dropout: `segment --config=camvid_segnet:bayesian_basic`."
        )
    return output.shape


def _draws(dropout: nn.Dropout) -> bool:
    """Return whether a layer draws from the stream MONTE_CARLO, as `norms.dropout` does; drop path is inactive in evaluation."""
    return dropout.rate > 0 and not dropout.deterministic and dropout.rng_collection == keys.MONTE_CARLO
