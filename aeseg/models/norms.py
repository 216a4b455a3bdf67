"""Norms, dropout, and the standardisation of images.  Models import them from `layers`."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from aeseg import keys
from aeseg.models import onednn
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
    zero: bool = False,
) -> Float[Array, "b h w c"]:
    """Apply a norm: "none", "batch" (Ioffe & Szegedy 2015), "group" (Wu & He 2018), "layer" (Ba et al. 2016).

    Batch: running averages move by 0.1 per step (PyTorch's default, as is `epsilon`); under jit on several devices, the statistics
    cover the global batch.  Group: 32 groups, or the largest number that divides both 32 and the channels.  Layer: each position
    separately, with the epsilon of `layer_norm`.  Statistics cover visible positions; values at hidden positions are meaningless
    afterwards.  With `zero`, batch norm's scale starts at 0 (Goyal et al. 2017, section 5.1).  Call inside a module.
    """
    counted = None if hidden is None else jnp.broadcast_to(visible_at(image, hidden), image.shape)
    if norm == "none":
        return image
    if norm == "batch":
        layer = BatchNorm(
            momentum=0.9,
            epsilon=epsilon,
            dtype=dtype,
            scale_init=nn.initializers.zeros_init() if zero else nn.initializers.ones_init(),
            name=name,
        )
        return layer(image, use_running_average=not train, mask=counted)
    if norm == "group":
        groups = nn.GroupNorm(num_groups=math.gcd(image.shape[-1], 32), epsilon=epsilon, dtype=dtype, name=name)
        return groups(image, mask=counted)
    if norm == "layer":
        return layer_norm(image, dtype, name)
    raise UserError(f"A norm is one of none, batch, group, layer; this model's is {norm!r}. Set norm to one of them.")


class BatchNorm(nn.BatchNorm):
    """Linen's batch norm over all axes except the last; in training, its gradient saves only the input (`batch_normalised`)."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "... d"], use_running_average: bool | None = None, *, mask: Bool[Array, "... d"] | None = None
    ) -> Float[Array, "... d"]:
        if use_running_average or mask is not None or self.is_initializing():
            return super().__call__(x, use_running_average, mask=mask)
        scale, bias = (self.param(name, nn.initializers.zeros_init(), x.shape[-1:]) for name in ("scale", "bias"))
        normalised, mean, variance = batch_normalised(x, scale, bias, self.epsilon)
        for name, value in (("mean", mean), ("var", variance)):
            running = self.variable("batch_stats", name, jnp.zeros, x.shape[-1:])
            running.value = self.momentum * running.value + (1 - self.momentum) * jax.lax.stop_gradient(value)
        return normalised.astype(self.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def batch_normalised(
    features: Float[Array, "... d"], scale: Float[Array, "d"], bias: Float[Array, "d"], epsilon: float
) -> tuple[Float[Array, "... d"], Float[Array, "d"], Float[Array, "d"]]:
    """Normalise features to mean 0 and variance 1 over all axes except the last, times `scale`, plus `bias`; also return mean and variance.

    All computation is in float32.  Gradients flow only through the normalised features (Ioffe & Szegedy 2015, section 3); gradients of
    mean and variance are ignored.
    """
    return _batch_normalised_forward(features, scale, bias, epsilon)[0]


def _batch_normalised_forward(features: Array, scale: Array, bias: Array, epsilon: float) -> tuple[Any, Any]:
    wide, count = features.astype(jnp.float32), features.size // features.shape[-1]
    mean, square = (each / count for each in _sums(wide, wide, jnp.zeros(features.shape[-1])))
    variance = jnp.maximum(0.0, square - jnp.square(mean))
    inverse = jax.lax.rsqrt(variance + epsilon)
    normalised = (wide - _row(mean, wide)) * _row(inverse * scale, wide) + _row(bias, wide)
    return (normalised, mean, variance), (features, scale, mean, inverse)


def _batch_normalised_backward(epsilon: float, saved: Any, gradients: Any) -> tuple[Array, Array, Array]:
    (features, scale, mean, inverse), gradient = saved, gradients[0]
    wide, count = features.astype(jnp.float32), features.size // features.shape[-1]
    standard = (wide - _row(mean, features)) * _row(inverse, features)
    to_bias, product = _sums(gradient, wide, mean)
    to_scale = product * inverse
    centred = gradient - _row(to_bias / count, features) - standard * _row(to_scale / count, features)
    return (centred * _row(inverse * scale, features)).astype(features.dtype), to_scale, to_bias


def _sums(values: Array, others: Array, shift: Array) -> tuple[Array, Array]:
    """Return the sums over all axes except the last of values, and of values times (others - shift)."""

    def plain(values: Array, others: Array, shift: Array) -> tuple[Array, Array]:
        axes = tuple(range(values.ndim - 1))
        return jnp.sum(values, axes), jnp.sum(values * (others - _row(shift, others)), axes)

    sums: tuple[Array, Array] = onednn.or_plain(onednn.sums, plain, values, others, shift)
    return sums


def _row(vector: Array, like: Array) -> Array:
    """Reshape a vector of the last axis to as many axes as `like`."""
    return vector.reshape((1,) * (like.ndim - 1) + vector.shape)


batch_normalised.defvjp(_batch_normalised_forward, _batch_normalised_backward)


class LayerNorm(nn.LayerNorm):
    """Linen's layer norm over the last axis, with float32 statistics and the variance of differences from the mean (or by oneDNN)."""

    use_fast_variance: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "... d"], *, mask: Bool[Array, "... d"] | None = None) -> Float[Array, "... d"]:
        if mask is not None or self.is_initializing() or self.dtype != "float32" or not onednn.suits(x):
            return super().__call__(x, mask=mask)
        scale, bias = (self.param(name, nn.initializers.zeros_init(), x.shape[-1:]) for name in ("scale", "bias"))
        return layer_normalised(x, scale, bias, self.epsilon)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_normalised(
    features: Float[Array, "... d"], scale: Float[Array, "d"], bias: Float[Array, "d"], epsilon: float
) -> Float[Array, "... d"]:
    """Normalise each row to mean 0 and variance 1, times `scale`, plus `bias` (Ba et al. 2016, equation 3), by one call of oneDNN."""
    return _layer_normalised_forward(features, scale, bias, epsilon)[0]


def _layer_normalised_forward(features: Array, scale: Array, bias: Array, epsilon: float) -> tuple[Array, tuple[Array, ...]]:
    def fast(features: Array, scale: Array, bias: Array) -> tuple[Array, Array, Array]:
        return onednn.layer_norm(features, scale, bias, epsilon)

    def plain(features: Array, scale: Array, bias: Array) -> tuple[Array, Array, Array]:
        normalised = _plain_layer_norm(features, scale, bias, epsilon)
        return normalised, jnp.mean(features, -1).reshape(-1), jnp.var(features, -1).reshape(-1)

    normalised, mean, variance = jax.lax.platform_dependent(features, scale, bias, cpu=fast, default=plain)
    return normalised, (features, scale, mean, variance)


def _layer_normalised_backward(epsilon: float, saved: tuple[Array, ...], gradient: Array) -> Any:
    def fast(features: Array, scale: Array, mean: Array, variance: Array, gradient: Array) -> tuple[Array, Array, Array]:
        return onednn.layer_norm_gradient(features, scale, mean, variance, gradient, epsilon)

    def plain(features: Array, scale: Array, mean: Array, variance: Array, gradient: Array) -> Any:
        back = jax.vjp(functools.partial(_plain_layer_norm, epsilon=epsilon), features, scale, jnp.zeros_like(scale))[1]
        return back(gradient)

    return jax.lax.platform_dependent(*saved, gradient, cpu=fast, default=plain)


def _plain_layer_norm(features: Array, scale: Array, bias: Array, epsilon: float) -> Array:
    linens = nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, parent=None)
    return linens.apply({"params": {"scale": scale, "bias": bias}}, features)  # type: ignore[return-value]


layer_normalised.defvjp(_layer_normalised_forward, _layer_normalised_backward)


def layer_norm(features: Float[Array, "b h w d"], dtype: str, name: str) -> Float[Array, "b h w d"]:
    """Apply layer norm to each position (Ba et al. 2016), with epsilon 1e-6.  Call inside a module."""
    return LayerNorm(epsilon=1e-6, dtype=dtype, name=name)(features)


def dropout(
    module: nn.Module, features: Float[Array, "b h w d"], rate: float, *, train: bool, whole: bool = False
) -> Float[Array, "b h w d"]:
    """Drop features with probability `rate` and scale the others by 1 / (1 - rate) (Srivastava et al. 2014).

    Active in training, and in evaluation if the stream MONTE_CARLO is given, to sample networks (Gal & Ghahramani 2016, arXiv
    1506.02142).  The separate stream is needed because a frozen encoder does not drop while its head is trained.
    `whole`: drop whole channels of an image (Tompson et al. 2015, SpatialDropout).
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
    """Return (image - mean) / std, with one number for all channels or one per channel."""
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
    """Invert `standardise`."""
    return image * jnp.asarray(std).reshape(1, 1, 1, -1) + jnp.asarray(mean).reshape(1, 1, 1, -1)
