"""Batch norm by the statistics of the image itself, in evaluation too: FC-DenseNet's evaluation."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from aeseg.types import UserError


def by_own_statistics(
    method: nn.Module, variables: Any, image: Float[Array, "b h w c"], rngs: dict[str, Array] | None = None
) -> Float[Array, "b h w k"]:
    """The logits of `method.predict` where every batch norm takes mean and variance from the row's own pixels, not the running averages.

    Each row is a batch of one, so that neither the rows beside it nor those that fill a batch up change it; the authors' code of
    FC-DenseNet (Jegou et al. 2017; SimJeg/FC-DenseNet, test.py: batch_norm_use_averages=False) takes ten images together.  In
    everything else (dropout) the network is as in evaluation.  A network without batch norm is a UserError.
    """
    if "batch_stats" not in variables:
        raise UserError(
            "Expected a network with batch norm, for statistics of the image itself; this one has none. Leave out batch_statistics."
        )

    def one(row: Float[Array, "h w c"]) -> Float[Array, "h w k"]:
        with nn.intercept_methods(_of_the_batch):
            logits, _ = method.apply(variables, row[None], rngs=rngs, method="predict", mutable=["batch_stats"])
        return logits[0]  # what the running averages would have become is left behind

    return jax.vmap(one)(image)


def _of_the_batch(call: Callable[..., Any], arguments: Any, keywords: Any, context: Any) -> Any:
    if isinstance(context.module, nn.BatchNorm):
        keywords = {**keywords, "use_running_average": False}
    return call(*arguments, **keywords)
