"""Matrix products of features, attention and GELU: forms that XLA computes fast on a CPU, equal to the plain forms up to rounding."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from aeseg.models import onednn


def product(features: Float[Array, "*b c"], kernel: Float[Array, "c d"], **fields: Any) -> Float[Array, "*b d"]:
    """Return `features` times a kernel, as one product of two matrices; `fields` are those of `jax.lax.dot_general`.

    With features of three axes or more, XLA on a CPU would compute the kernel's gradient from a transposed copy of the output's gradient,
    in almost twice the time.
    """
    if all(value is None for value in fields.values()):
        return _product(features, kernel)
    result = lax.dot_general(_flat(features), kernel, (((1,), (0,)), ((), ())), **fields)
    return result.reshape(*features.shape[:-1], kernel.shape[-1])


@jax.custom_vjp
def _product(features: Array, kernel: Array) -> Array:
    return _multiply(_flat(features), kernel).reshape(*features.shape[:-1], kernel.shape[-1])


def _product_forward(features: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    """Save the features as they came: a scan keeps those that several products share once."""
    return _product(features, kernel), (features, kernel)


def _product_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    features, kernel = saved
    back = _multiply(_flat(gradient), kernel, swap_right=True).reshape(features.shape)
    return back, _multiply(_flat(features), _flat(gradient), swap_left=True)


_product.defvjp(_product_forward, _product_backward)


def _flat(features: Array) -> Array:
    return features.reshape(-1, features.shape[-1])


def _multiply(
    left: Float[Array, "*b _ _"], right: Float[Array, "*b _ _"], swap_left: bool = False, swap_right: bool = False, kind: Any = None
) -> Float[Array, "*b _ _"]:
    """Multiply pairs of matrices, those of a swapped side transposed; `kind` is the type of the result, None: that of the matrices."""

    def plain(left: Array, right: Array) -> Array:
        axes, batch = left.ndim, tuple(range(left.ndim - 2))
        contracted = ((axes - 2 if swap_left else axes - 1,), (axes - 1 if swap_right else axes - 2,))
        return lax.dot_general(left, right, (contracted, (batch, batch)), preferred_element_type=kind)

    def fast(left: Array, right: Array) -> Array:
        return onednn.product(left, right, swap_left, swap_right)

    return onednn.or_plain(fast, plain, left, right)


SHARED_OUT = 16
"""Number of images times heads from which cores take whole heads; fewer leave cores without work."""


def attention(
    query: Float[Array, "b n heads d"],
    key: Float[Array, "b m heads d"],
    value: Float[Array, "b m heads d"],
    present: Int[Array, "b"] | None = None,
) -> Float[Array, "b n heads d"]:
    """Scaled dot-product attention, softmax(q k / sqrt(d)) v, with a float32 softmax (Vaswani et al. 2017, equation 1).

    On a GPU, cuDNN's flash attention runs if it supports the input: half precision, and d at most 128 and a multiple of 8.
    Only the first `present` keys of an image are attended to; None: all.
    """
    if jax.default_backend() == "cpu":
        if onednn.suits(query) and query.shape[0] * query.shape[2] >= SHARED_OUT:
            every = jnp.full(query.shape[0], key.shape[1], jnp.int32)
            return _by_heads(query, key, value, every if present is None else present.astype(jnp.int32))
        return _heads_first(query, key, value, present)
    fits = query.dtype in (jnp.bfloat16, jnp.float16) and query.shape[-1] <= 128 and query.shape[-1] % 8 == 0
    cudnn = fits and jax.default_backend() == "gpu"
    return jax.nn.dot_product_attention(query, key, value, key_value_seq_lengths=present, implementation="cudnn" if cudnn else "xla")


def _heads_first(
    query: Float[Array, "b n heads d"],
    key: Float[Array, "b m heads d"],
    value: Float[Array, "b m heads d"],
    present: Int[Array, "b"] | None,
) -> Float[Array, "b n heads d"]:
    """Compute `attention` with the heads before the tokens, a layout in which XLA's products of each head are fast."""
    query, key, value = (part.transpose(0, 2, 1, 3) for part in (query, key, value))
    return _attend(query, key, value, present).transpose(0, 2, 1, 3)


@jax.custom_vjp
def _attend(query: Array, key: Array, value: Array, present: Array | None) -> Array:
    return _attended(query, key, value, present)[0]


def _attended(query: Array, key: Array, value: Array, present: Array | None) -> tuple[Array, Array]:
    """Return the attended values and the weights."""
    scores = _multiply(query, key, swap_right=True, kind=jnp.float32) * query.shape[-1] ** -0.5
    if present is not None:
        scores = jnp.where(jnp.arange(key.shape[2])[None, None, None] < present[:, None, None, None], scores, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores).astype(value.dtype)
    return _multiply(weights, value), weights


def _attend_forward(query: Array, key: Array, value: Array, present: Array | None) -> tuple[Array, tuple[Array, ...]]:
    attended, weights = _attended(query, key, value, present)
    return attended, (query, key, value, attended, weights)


def _attend_backward(saved: tuple[Array, ...], gradient: Array) -> tuple[Array, Array, Array, None]:
    """Differentiate from the weights alone, as flash attention does (Dao et al. 2022, appendix B.2); absent keys have weight 0."""
    query, key, value, attended, weights = saved
    mean = jnp.sum(gradient.astype(jnp.float32) * attended, axis=-1, keepdims=True)
    change = _multiply(gradient, value, swap_right=True, kind=jnp.float32)
    change = (weights * (change - mean) * query.shape[-1] ** -0.5).astype(query.dtype)
    return _multiply(change, key), _multiply(change, query, swap_left=True), _multiply(weights, gradient, swap_left=True), None


_attend.defvjp(_attend_forward, _attend_backward)


@jax.custom_vjp
def _by_heads(query: Array, key: Array, value: Array, present: Array) -> Array:
    """Compute `attention` by one call of oneDNN, which keeps no weights in memory; its gradient computes them again."""

    def fast(query: Array, key: Array, value: Array, present: Array) -> Array:
        return onednn.attention(query * query.shape[-1] ** -0.5, key, value, present)

    return lax.platform_dependent(query, key, value, present, cpu=fast, default=_heads_first)


def _by_heads_backward(saved: tuple[Array, ...], gradient: Array) -> tuple[Array, Array, Array, None]:
    def fast(query: Array, key: Array, value: Array, present: Array, gradient: Array) -> tuple[Array, Array, Array]:
        scale = query.shape[-1] ** -0.5
        to_query, to_key, to_value = onednn.attention_gradient(query * scale, key, value, present, gradient)
        return to_query * scale, to_key, to_value

    def plain(query: Array, key: Array, value: Array, present: Array, gradient: Array) -> Any:
        return jax.vjp(_heads_first, query, key, value, present)[1](gradient)[:3]

    return (*lax.platform_dependent(*saved, gradient, cpu=fast, default=plain), None)


_by_heads.defvjp(lambda *parts: (_by_heads(*parts), parts), _by_heads_backward)


@jax.custom_vjp
def gelu(values: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """Exact GELU, x (1 + erf(x / sqrt(2))) / 2 (Hendrycks & Gimpel 2016, section 2).

    `jax.nn.gelu` takes the slower erfc, and its gradient keeps four arrays in memory where this one keeps its input.
    """
    return onednn.or_plain(onednn.gelu, _gelu, values)


def _gelu(values: Array) -> Array:
    return values * _normal_below(values)


def _normal_below(values: Array) -> Array:
    """Return the probability that a standard normal number is below each value."""
    return 0.5 * (1 + lax.erf(values * math.sqrt(0.5)))


def _gelu_backward(values: Array, gradient: Array) -> tuple[Array]:
    def plain(values: Array, gradient: Array) -> Array:
        density = jnp.exp(-0.5 * values * values) * (1 / math.sqrt(2 * math.pi))
        return gradient * (_normal_below(values) + values * density)

    return (onednn.or_plain(onednn.gelu_gradient, plain, values, gradient),)


gelu.defvjp(lambda values: (gelu(values), values), _gelu_backward)
