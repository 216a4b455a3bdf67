"""Monte Carlo dropout: networks drawn from one by its dropout, their mean, and how far they disagree (Bayesian SegNet)."""

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
"""What stands after the classes in the result of `sampled`: the uncertainty."""

Logits = Callable[[Key[Array, ""], Shaped[Array, "1 h w c"]], Float[Array, "1 h w k"]]
"""A network in evaluation that drops by this key: it is given as the stream keys.MONTE_CARLO."""


def sampled(logits: Logits, image: Shaped[Array, "b h w c"], index: Int[Array, "b"], seed: int, samples: int) -> Float[Array, "b h w _"]:
    """The logarithm of the mean softmax of `samples` draws [b h w k], and after the classes the uncertainty of each pixel.

    Kendall et al. 2015 (arXiv 1511.02680), section 3: the uncertainty is the variance of the softmax over the draws, its mean over
    the classes; the paper draws 40.  What a row drops depends on nothing but `seed` and its `index`, whatever rows are
    beside it.  Mean and variance are updated draw by draw (Welford 1962), so that draws that agree have exactly variance 0.
    """
    found = _checked_shape(logits, image)
    root = jax.random.key(seed)

    def drawn(sample: Array, moments: tuple[Array, Array]) -> tuple[Array, Array]:
        mean, squares = moments
        rows = keys.per_row(keys.stream(root, keys.MONTE_CARLO, sample), index)
        probabilities = jax.nn.softmax(jax.vmap(lambda key, row: logits(key, row[None])[0])(rows, image))
        difference = probabilities - mean
        mean = mean + difference / (sample + 1)
        return mean, squares + difference * (probabilities - mean)

    nothing = jnp.zeros((len(image), *found[1:]), jnp.float32)
    mean, squares = jax.lax.fori_loop(0, samples, drawn, (nothing, nothing))
    variance = jnp.mean(squares / samples, axis=-1, keepdims=True)
    return jnp.concatenate([jnp.log(jnp.maximum(mean, jnp.finfo(jnp.float32).tiny)), variance], axis=-1)


def fingerprints(images: Shaped[np.ndarray, "b h w c"]) -> Int32[np.ndarray, "b"]:
    """A number for each image, of its pixels alone: as `index` of `sampled` it gives an image the same draws in every call."""
    return np.array([zlib.crc32(np.ascontiguousarray(image).data) for image in images], np.uint32).view(np.int32)


def _checked_shape(logits: Logits, image: Array) -> tuple[int, ...]:
    """The shape of one row's logits; raises UserError where nothing drops."""
    dropping = []

    def note(method: Callable[..., Any], arguments: Any, keywords: Any, context: Any) -> Any:
        dropping.append(isinstance(context.module, nn.Dropout) and _draws(context.module))
        return method(*arguments, **keywords)

    with nn.intercept_methods(note):
        found = jax.eval_shape(logits, jax.random.key(0), image[:1])
    if not any(dropping):
        raise UserError(
            "Samples need a network with dropout, to draw others from it; this one has none (drop path is of training alone), or its "
            "rate is 0. Ask for 0 samples, or train one that has it, such as `segment --config=camvid_segnet:bayesian_basic`."
        )
    return found.shape


def _draws(dropout: nn.Dropout) -> bool:
    """Whether it drops by the stream MONTE_CARLO, as `norms.dropout` does; drop path is an nn.Dropout that stands still in evaluation."""
    return dropout.rate > 0 and not dropout.deterministic and dropout.rng_collection == keys.MONTE_CARLO
