"""Norms, dropout, and the standardisation of an image: what stands between layers.  `layers` hands them on to the models."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from aeseg import keys
from aeseg.models.sparse import visible_at
from aeseg.types import UserError


def normalise(
    image: Float[Array, "b h w c"],
    norm: str,
    *,
    train: bool,
    dtype: str,
    name: str,
    hidden: Bool[Array, "b i j"] | None = None,
    epsilon: float = 1e-5,
) -> Float[Array, "b h w c"]:
    """The image after a norm: "none", "batch" (Ioffe & Szegedy 2015), "group" (Wu & He 2018), "layer" (Ba et al. 2016).

    Batch: running averages move by 0.1 a step (PyTorch's default, as is `epsilon`); under jit over several devices the
    statistics are those of the global batch.  Group: 32 groups, or as many as divide both 32 and the channels.  Layer: of each
    position alone, with the epsilon of `layer_norm`.  Statistics are over visible positions; what stands at hidden ones afterwards
    means nothing.  Call it inside a module.
    """
    counted = None if hidden is None else jnp.broadcast_to(visible_at(image, hidden), image.shape)
    if norm == "none":
        return image
    if norm == "batch":
        layer = nn.BatchNorm(momentum=0.9, epsilon=epsilon, dtype=dtype, name=name)
        return layer(image, use_running_average=not train, mask=counted)
    if norm == "group":
        groups = nn.GroupNorm(num_groups=math.gcd(image.shape[-1], 32), epsilon=epsilon, dtype=dtype, name=name)
        return groups(image, mask=counted)
    if norm == "layer":
        return layer_norm(image, dtype, name)
    raise UserError(f"A norm is one of none, batch, group, layer; this model's is {norm!r}. Set norm to one of them.")


def layer_norm(features: Float[Array, "b h w d"], dtype: str, name: str) -> Float[Array, "b h w d"]:
    """Each position's features with mean 0 and variance 1 (Ba et al. 2016), epsilon 1e-6.  Call it inside a module."""
    return nn.LayerNorm(epsilon=1e-6, use_fast_variance=False, dtype=dtype, name=name)(features)


def dropout(
    module: nn.Module, features: Float[Array, "b h w d"], rate: float, *, train: bool, whole: bool = False
) -> Float[Array, "b h w d"]:
    """Features of `module`, each zero with probability `rate` and the others larger by 1 / (1 - rate) (Srivastava et al. 2014).

    While training; and in evaluation where the stream MONTE_CARLO is given, to sample networks (Gal & Ghahramani 2016, arXiv
    1506.02142): a stream of its own, for a frozen encoder does not drop while its head, which is trained, does.
    `whole`: of an image a channel is dropped as a whole or not at all (Tompson et al. 2015, SpatialDropout).
    """
    sampled = not train and module.has_rng(keys.MONTE_CARLO)
    layer = nn.Dropout(
        rate,
        broadcast_dims=(1, 2) if whole else (),
        deterministic=not (train or sampled),
        rng_collection=keys.MONTE_CARLO if sampled else "dropout",
    )
    return layer(features)


def standardise(image: Float[Array, "b h w c"], mean: Sequence[float], std: Sequence[float]) -> Float[Array, "b h w c"]:
    """(image - mean) / std, one number for all channels or one for each."""
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, image.shape[-1]):
            raise UserError(
                f"The encoder standardises {len(values)} channels; the image has {image.shape[-1]}. "
                f"Give {name} one number, or one for each channel."
            )
    if all(value == 0 for value in mean) and all(value == 1 for value in std):
        return image
    return (image - jnp.asarray(mean).reshape(1, 1, 1, -1)) / jnp.asarray(std).reshape(1, 1, 1, -1)


def unstandardise(image: Float[Array, "b h w c"], mean: Sequence[float], std: Sequence[float]) -> Float[Array, "b h w c"]:
    """The inverse of `standardise`."""
    return image * jnp.asarray(std).reshape(1, 1, 1, -1) + jnp.asarray(mean).reshape(1, 1, 1, -1)
