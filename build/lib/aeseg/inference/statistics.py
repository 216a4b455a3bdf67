"""Evaluation with per-image batch norm statistics, as in FC-DenseNet."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float

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


def _use_batch_statistics(call: Callable[..., Any], arguments: Any, keywords: Any, context: Any) -> Any:
    if isinstance(context.module, nn.BatchNorm):
        keywords = {**keywords, "use_running_average": False}
    return call(*arguments, **keywords)
