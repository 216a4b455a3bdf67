"""Optimisers: named functions around optax, so that a config can hold them.

Each is a gradient transformation over the whole parameter tree with one learning-rate schedule.  Parameters are chosen
by path patterns (`encoder/*`); see `aeseg.tree.matches`.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import optax

from aeseg import tree
from aeseg.types import UserError

NO_DECAY = ("*bias", "*scale", "*gamma", "*beta", "*position*", "*token*")
"""Biases, norms' scales, response normalisation, position tables and tokens: never decayed (He et al. 2022, A.1)."""


class Optimiser(NamedTuple):
    """An optax transformation and its learning rate as a function of the step."""

    init: Callable[[Any], Any]
    update: Callable[..., Any]
    learning_rate: Callable[[Any], Any]


def learning_rate_schedule(peak: float, steps: int, warmup: int, shape: str, end: float, power: float) -> optax.Schedule:
    """Linear warm-up from 0 over `warmup` steps, then `shape`: constant | cosine | polynomial, to `end` * peak at `steps`.

    Cosine: Loshchilov & Hutter 2017, eq. 5 (no restarts).  Polynomial: (1 - t)^power (Chen et al. 2018, DeepLab).
    """
    if not 0 <= warmup <= steps:
        raise UserError(f"warmup must lie between 0 and steps ({steps}); got {warmup}. Set --config.optimiser.warmup.")
    rest = max(1, steps - warmup)
    shapes = {
        "constant": lambda: optax.constant_schedule(peak),
        "cosine": lambda: optax.cosine_decay_schedule(peak, rest, alpha=end),
        "polynomial": lambda: optax.polynomial_schedule(peak, peak * end, power, rest),
    }
    if shape not in shapes:
        raise UserError(f"schedule must be one of {sorted(shapes)}; got {shape!r}. Set --config.optimiser.schedule.")
    if warmup == 0:
        return shapes[shape]()
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), shapes[shape]()], [warmup])


def adamw(
    learning_rate: float,
    steps: int,
    warmup: int = 0,
    schedule: str = "cosine",
    end: float = 0.0,
    power: float = 0.9,
    b1: float = 0.9,
    b2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.05,
    no_decay: Sequence[str] = NO_DECAY,
    clip: float = 0.0,
    layer_decay: float = 1.0,
    freeze: Sequence[str] = (),
) -> Optimiser:
    """AdamW (Loshchilov & Hutter 2019, algorithm 2): decay is not part of the gradient, and scales with the schedule.

    `clip` > 0 clips the gradient's global norm; `layer_decay` < 1 gives layer l of L the rate times layer_decay^(L-l)
    (Bao et al. 2022); `freeze` names what does not move at all.  weight_decay 0 is Adam (Kingma & Ba 2015).
    """
    rate = learning_rate_schedule(learning_rate, steps, warmup, schedule, end, power)
    core = [
        optax.scale_by_adam(b1, b2, epsilon),
        optax.add_decayed_weights(weight_decay, mask=lambda params: decayed(params, no_decay)),
    ]
    return _assembled(core, rate, clip, layer_decay, freeze)


def sgd(
    learning_rate: float,
    steps: int,
    warmup: int = 0,
    schedule: str = "constant",
    end: float = 0.0,
    power: float = 0.9,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    no_decay: Sequence[str] = NO_DECAY,
    clip: float = 0.0,
    layer_decay: float = 1.0,
    freeze: Sequence[str] = (),
) -> Optimiser:
    """Stochastic gradient descent with momentum; weight decay joins the gradient, before the momentum, as in Caffe and torch."""
    rate = learning_rate_schedule(learning_rate, steps, warmup, schedule, end, power)
    core = [
        optax.add_decayed_weights(weight_decay, mask=lambda params: decayed(params, no_decay)),
        optax.trace(momentum, nesterov),
    ]
    return _assembled(core, rate, clip, layer_decay, freeze)


def decayed(params: Any, no_decay: Sequence[str] = NO_DECAY) -> Any:
    """True for each parameter that weight decay pulls at."""
    return tree.map_with_name(lambda name, _: not tree.matches(name, no_decay), params)


def layer_scales(params: Any, decay: float) -> Any:
    """The factor of each parameter's learning rate: decay^(top - layer).

    The layer of `encoder/<name><number>/...` is number + 1, that of the encoder's other parameters (stem, positions) 0,
    and that of everything outside the encoder the top, one above the encoder's last.
    """
    layers = {name: _layer(name) for name in tree.flatten(params)}
    top = 1 + max((layer for layer in layers.values() if layer is not None), default=0)
    return tree.map_with_name(lambda name, _: decay ** (top - (top if layers[name] is None else layers[name])), params)


def _layer(name: str) -> int | None:
    parts = name.split("/")
    if parts[0] != "encoder":
        return None
    number = re.search(r"(\d+)$", parts[1])
    return int(number.group(1)) + 1 if number else 0


def _assembled(core: list[Any], rate: optax.Schedule, clip: float, layer_decay: float, freeze: Sequence[str]) -> Optimiser:
    parts = [optax.clip_by_global_norm(clip)] if clip > 0 else []
    parts += core
    if layer_decay != 1.0:
        parts.append(_scale_by_layer(layer_decay))
    chain = optax.chain(*parts, optax.scale_by_learning_rate(rate))
    if freeze:

        def labels(params: Any) -> Any:
            marks = tree.map_with_name(lambda name, _: "still" if tree.matches(name, freeze) else "moving", params)
            if "moving" not in jax.tree.leaves(marks):
                raise UserError(f"freeze={tuple(freeze)} leaves nothing to train. Name fewer paths.")
            if "still" not in jax.tree.leaves(marks):
                raise UserError(f"freeze={tuple(freeze)} matches no parameter; there are {sorted(tree.flatten(params))[:4]}, ...")
            return marks

        chain = optax.partition({"moving": chain, "still": optax.set_to_zero()}, labels)
    return Optimiser(chain.init, chain.update, rate)


def _scale_by_layer(decay: float) -> optax.GradientTransformation:
    def update(updates: Any, state: Any, params: Any) -> tuple[Any, Any]:
        return jax.tree.map(lambda scale, leaf: scale * leaf, layer_scales(params, decay), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
