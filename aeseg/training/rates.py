"""Learning rates by path: factors for some parameters, and frozen parameters."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from aeseg import tree
from aeseg.types import UserError

Rates = Sequence[tuple[str, float]]
"""(path pattern, factor).  The first pattern that matches a path gives its factor; other paths have factor 1."""


def scale_by_path(rates: Rates) -> optax.GradientTransformation:
    """Scale each update by the factor of its path, as for an encoder's learning rate or Caffe's `lr_mult`.

    Raises UserError for a negative factor, and at initialisation for a pattern that matches no parameter.
    """
    for pattern, times in rates:
        if times < 0:
            raise UserError(f"rates gives {pattern!r} the factor {times}; expected 0 or more. Set --config.optimiser.rates.")

    def init(params: Any) -> Any:
        known = tree.flatten(params)
        for pattern, _ in rates:
            if not any(tree.matches(name, (pattern,)) for name in known):
                raise UserError(f"rates names {pattern!r}, which matches no parameter; there are {sorted(known)[:4]}, ...")
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        return tree.map_with_name(lambda name, leaf: leaf * jnp.asarray(factor(rates, name), leaf.dtype), updates), state

    return optax.GradientTransformation(init, update)


def factor(rates: Rates, name: str) -> float:
    """Return the factor of the first pattern that matches a path, or 1."""
    return next((times for pattern, times in rates if tree.matches(name, (pattern,))), 1.0)


def released(thaw: Sequence[int]) -> optax.Schedule:
    """Return a schedule that is 0 up to the first step of `thaw` and rises linearly to 1 at the second; UserError unless there are two.

    Linear probing, then fine-tuning (LP-FT; Kumar et al. 2022, arXiv 2202.10054). Deviation: one run with one schedule. Frozen
    batch norms use each batch's statistics, and optimisers collect moments of frozen parameters' gradients. For the paper's two
    stages run `segment` twice: --config.transfer=linear-probe, then --config.transfer=continue with --init.
    """

    if len(thaw) != 2 or not 0 <= thaw[0] <= thaw[1]:
        raise UserError(f"thaw needs two ascending steps, the last frozen one and the first at the full learning rate; got {tuple(thaw)}.")
    first, last = thaw

    def schedule(count: Any) -> Any:
        return jnp.clip((count - first) / (last - first), 0, 1) if last > first else jnp.where(count >= first, 1.0, 0.0)

    return schedule


def labels(params: Any, patterns: Sequence[str]) -> Any:
    """Label each parameter "still" if a pattern matches, else "moving"; UserError if all or none match."""
    marks = tree.map_with_name(lambda name, _: "still" if tree.matches(name, patterns) else "moving", params)
    if "moving" not in jax.tree.leaves(marks):
        raise UserError(f"freeze={tuple(patterns)} leaves nothing to train. Name fewer paths.")
    if "still" not in jax.tree.leaves(marks):
        raise UserError(f"freeze={tuple(patterns)} matches no parameter; there are {sorted(tree.flatten(params))[:4]}, ...")
    return marks
