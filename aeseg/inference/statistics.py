"""Batch norm statistics: of each image, as in FC-DenseNet, or of a whole set of images, as in PreciseBN."""

from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, Float, Num

from aeseg import images, tree
from aeseg.types import UserError


def by_own_statistics(
    method: nn.Module, variables: Any, image: Float[Array, "b h w c"], rngs: dict[str, Array] | None = None
) -> Float[Array, "b h w k"]:
    """Return the logits of `method.predict` with batch norms that use the statistics of each row instead of running averages.

    Each row is a batch of one, independent of other rows and of padding. Deviation: the authors' code of FC-DenseNet (Jegou et al.
    2017; SimJeg/FC-DenseNet, test.py: batch_norm_use_averages=False) uses the statistics of ten images. Other layers, such as
    dropout, stay in evaluation mode. Raises UserError for a network without batch norm.
    """
    if "batch_stats" not in variables:
        raise UserError("Per-image statistics need a network with batch norm; this one has none. Leave out batch_statistics.")

    def one(row: Float[Array, "h w c"]) -> Float[Array, "h w k"]:
        with nn.intercept_methods(_use_batch_statistics):
            logits, _ = method.apply(variables, row[None], rngs=rngs, method="predict", mutable=["batch_stats"])
        return logits[0]  # the updated running averages are discarded

    return jax.vmap(one)(image)


def population_averages(encoder: nn.Module, variables: Any, batches: Iterable[Num[Array | np.ndarray, "_ h w c"]]) -> Any:
    """Return the `batch_stats` of an encoder over a set of images (Wu & Johnson 2021, arXiv 2105.07576, section 3, "PreciseBN").

    Each batch is normalised by its own statistics m and v, layer after layer. The mean is E[m] and the variance E[v + m^2] - E[m]^2,
    over all images: at the first norm, exactly the mean and variance of the set. Other layers stay in evaluation mode. An encoder
    without batch norm gives {}. `batches` holds images as they are loaded, uint8 or in [0, 1], without padding.
    """
    if not variables.get("batch_stats"):
        return {}
    fresh = {**variables, "batch_stats": jax.tree.map(jnp.zeros_like, variables["batch_stats"])}

    def moments(variables: Any, image: Num[Array, "b h w c"]) -> Any:
        momentum: dict[str, float] = {}

        def noted(call: Callable[..., Any], arguments: Any, keywords: Any, context: Any) -> Any:
            momentum["/".join(context.module.path)] = getattr(context.module, "momentum", 0.0)
            return _use_batch_statistics(call, arguments, keywords, context)

        with nn.intercept_methods(noted):
            _, moved = encoder.apply(variables, images.as_float(image), train=False, mutable=["batch_stats"])
        # One step from averages of 0.
        return tree.map_with_name(lambda name, leaf: leaf / (1 - momentum[name.rpartition("/")[0]]), moved["batch_stats"])

    compiled, weight, total = jax.jit(moments), 0, jax.tree.map(lambda leaf: np.zeros(leaf.shape), fresh["batch_stats"])
    for image in batches:
        rows = image.shape[0]
        averages = compiled(fresh, image)
        averages = jax.device_get(averages) if jax.process_count() == 1 else multihost_utils.process_allgather(averages, tiled=True)
        averages = _raw(jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), averages))
        total = jax.tree.map(lambda sum_, leaf, rows=rows: sum_ + rows * leaf, total, averages)
        weight += rows
    if not weight:
        raise UserError("Batch norm averages need images; there are none. Name a split with records.")
    return _central(jax.tree.map(lambda leaf: leaf / weight, total))


def _raw(statistics: Any) -> Any:
    """Replace each variance of a tree of (mean, var) by the mean square."""
    return _mapped(statistics, lambda mean, square: (mean, square + np.square(mean)))


def _central(statistics: Any) -> Any:
    """Invert `_raw`, in float32."""
    return _mapped(statistics, lambda mean, square: (np.float32(mean), np.float32(np.maximum(square - np.square(mean), 0))))


def _mapped(node: Any, function: Callable[[Any, Any], tuple[Any, Any]]) -> Any:
    if set(node) == {"mean", "var"}:
        return dict(zip(("mean", "var"), function(node["mean"], node["var"]), strict=True))
    return {name: _mapped(inner, function) for name, inner in node.items()}


def _use_batch_statistics(call: Callable[..., Any], arguments: Any, keywords: Any, context: Any) -> Any:
    if isinstance(context.module, nn.BatchNorm):
        keywords = {**keywords, "use_running_average": False}
    return call(*arguments, **keywords)
