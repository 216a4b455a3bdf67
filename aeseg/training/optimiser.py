"""Optimisers: named functions around optax, so that a config can hold them.

Each is a gradient transformation over the whole parameter tree with one learning-rate schedule.  Parameters are chosen
by path patterns (`encoder/*`); see `aeseg.tree.matches`.  All take

clip          largest global norm of the gradient; 0: any
layer_decay   below 1, scales the learning rate of layer l of L by layer_decay^(L-l) (Bao et al. 2022; aeseg/training/layer_decay.py)
rates         factors of the learning rate by path: (("encoder/*", 0.1),), (("*bias", 2.0),) (aeseg/training/rates.py)
freeze        frozen paths
thaw          (n, m): the learning rate of the frozen paths rises linearly from step n to its full value at step m (LP-FT)
momentum      decay of the running mean of the updates
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import optax

from aeseg import tree
from aeseg.spec import spec
from aeseg.training.layer_decay import scale_by_layer
from aeseg.training.muon import matrix_labels, scale_by_orthogonal
from aeseg.training.rates import Rates, labels, released, scale_by_path
from aeseg.training.schedules import learning_rate_schedule, weight_decay_schedule
from aeseg.training.trust_ratio import scale_by_lamb_ratio, scale_by_lars_ratio
from aeseg.types import UserError

NO_DECAY = ("*bias", "*scale", "*gamma", "*beta", "*position*", "*token*")
"""Parameters without weight decay: biases, norms' scales, response normalisation, position tables and tokens.

As in MAE's fine-tuning (code: lr_decay.py, models_vit.py: vectors, pos_embed, cls_token).  Deviations: SimMIM decays the mask token of a
ViT; MAE's pretraining (code: main_pretrain.py, timm's add_weight_decay) exempts only vectors, so it decays the class and mask tokens,
which are 1 x 1 x d.
"""


NOT_HIDDEN = ("encoder/stem*", "encoder/patch*", "encoder/stage0/patch*", "*/pixels/*", "decoder/last/*", "*logits*")
"""First and last layers of encoders, decoders and heads."""


class Optimiser(NamedTuple):
    """An optax transformation, its learning rate as a function of the step, and the call that made it, for a run's config."""

    init: Callable[[Any], Any]
    update: Callable[..., Any]
    learning_rate: Callable[[Any], Any]
    call: Any = None


def _recorded(make: Callable[..., Optimiser]) -> Callable[..., Optimiser]:
    """Record a function's call in the optimisers that it returns."""

    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Optimiser:
        bound = inspect.signature(make).bind(*args, **kwargs)
        return make(*args, **kwargs)._replace(call=spec(made, **bound.arguments))

    return made


@_recorded
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
    weight_decay_growth: float = 1.0,
    no_decay: Sequence[str] = NO_DECAY,
    clip: float = 0.0,
    layer_decay: float = 1.0,
    freeze: Sequence[str] = (),
    thaw: Sequence[int] = (),
    rates: Rates = (),
) -> Optimiser:
    """AdamW (Loshchilov & Hutter 2019, algorithm 2): weight decay is decoupled from the gradient and scales with the schedule.

    With weight_decay 0 this is Adam (Kingma & Ba 2015).

    learning_rate   largest learning rate, after the warm-up
    steps           length of the schedule in steps
    warmup          steps in which the learning rate rises linearly from 0
    schedule        constant | cosine | polynomial | exponential, after the warm-up (aeseg/training/schedules.py)
    end             learning rate at the end of the schedule, as a fraction of the largest
    power           exponent of the polynomial schedule
    b1, b2          decay of the running means of the gradient and of its square
    epsilon         is added to the root of the mean square
    weight_decay    fraction of a parameter that a step at learning rate 1 removes
    weight_decay_growth   factor by which the weight decay grows along half a cosine (Caron et al. 2021)
    no_decay        paths of the parameters without weight decay
    """
    rate = learning_rate_schedule(learning_rate, steps, warmup, schedule, end, power)
    core = [
        optax.scale_by_adam(b1, b2, epsilon),
        _decay(weight_decay_schedule(weight_decay, weight_decay_growth, steps), no_decay),
    ]
    return _assembled(core, rate, clip, layer_decay, Stillness(freeze, thaw), rates)


@_recorded
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
    thaw: Sequence[int] = (),
    rates: Rates = (),
) -> Optimiser:
    """Stochastic gradient descent with momentum.  Weight decay is added to the gradient, before the momentum, as in Caffe and torch.

    nesterov   look ahead along the momentum (Nesterov 1983; Sutskever et al. 2013)
    """
    rate = learning_rate_schedule(learning_rate, steps, warmup, schedule, end, power)
    core = [_decay(weight_decay, no_decay), optax.trace(momentum, nesterov)]
    return _assembled(core, rate, clip, layer_decay, Stillness(freeze, thaw), rates)


@_recorded
def rmsprop(
    learning_rate: float,
    steps: int,
    warmup: int = 0,
    schedule: str = "constant",
    end: float = 0.0,
    power: float = 0.9,
    decay: float = 0.9,
    epsilon: float = 1e-6,
    weight_decay: float = 0.0,
    no_decay: Sequence[str] = NO_DECAY,
    clip: float = 0.0,
    layer_decay: float = 1.0,
    freeze: Sequence[str] = (),
    thaw: Sequence[int] = (),
    rates: Rates = (),
) -> Optimiser:
    """RMSprop (Tieleman & Hinton 2012, lecture 6e): g / sqrt(v + epsilon), for the gradient g and a running mean v of g^2, from 0.

    epsilon is under the root, as in Lasagne (torch adds it to the root).  Weight decay is added to the gradient, before the mean
    square, as in Lasagne's recipes and in torch.  Lasagne's penalty c * sum(w^2) is a `weight_decay` of 2c.

    decay   of the running mean of the squared gradient
    """
    rate = learning_rate_schedule(learning_rate, steps, warmup, schedule, end, power)
    core = [_decay(weight_decay, no_decay), optax.scale_by_rms(decay, epsilon)]
    return _assembled(core, rate, clip, layer_decay, Stillness(freeze, thaw), rates)


@_recorded
def lamb(
    learning_rate: float,
    steps: int,
    warmup: int = 0,
    schedule: str = "cosine",
    end: float = 0.0,
    power: float = 0.9,
    b1: float = 0.9,
    b2: float = 0.95,
    epsilon: float = 1e-6,
    weight_decay: float = 0.04,
    weight_decay_growth: float = 1.0,
    no_decay: Sequence[str] = NO_DECAY,
    clip: float = 0.0,
    layer_decay: float = 1.0,
    freeze: Sequence[str] = (),
    thaw: Sequence[int] = (),
    rates: Rates = (),
) -> Optimiser:
    """LAMB (You et al. 2020, algorithm 2): each layer's AdamW update has the length of the learning rate times the weights' norm.

    phi(z) = z.  Parameters in `no_decay` (biases, norms) move as in AdamW, and each slice of a stack is a separate layer.  The
    defaults are SparK's (Tian et al. 2023, appendix B); its weight decay grows from .04 to .2: weight_decay_growth 5.
    """
    rate = learning_rate_schedule(learning_rate, steps, warmup, schedule, end, power)
    core = [
        optax.scale_by_adam(b1, b2, epsilon),
        _decay(weight_decay_schedule(weight_decay, weight_decay_growth, steps), no_decay),
        scale_by_lamb_ratio(no_decay),
    ]
    return _assembled(core, rate, clip, layer_decay, Stillness(freeze, thaw), rates)


@_recorded
def lars(
    learning_rate: float,
    steps: int,
    warmup: int = 0,
    schedule: str = "cosine",
    end: float = 0.0,
    power: float = 0.9,
    momentum: float = 0.9,
    trust: float = 0.001,
    weight_decay: float = 0.0,
    no_decay: Sequence[str] = NO_DECAY,
    clip: float = 0.0,
    layer_decay: float = 1.0,
    freeze: Sequence[str] = (),
    thaw: Sequence[int] = (),
    rates: Rates = (),
) -> Optimiser:
    """LARS (You et al. 2017, algorithm 1): each layer's gradient is scaled to `trust` times the norm of its weights.

    Parameters in `no_decay` (biases, norms) move as in SGD (as in MAE's linear probe, He et al. 2022, appendix A.1); each slice of a
    stack is a separate layer.  Deviation: the learning rate multiplies the momentum, as in torch, not the momentum's input.
    """
    rate = learning_rate_schedule(learning_rate, steps, warmup, schedule, end, power)
    core = [scale_by_lars_ratio(trust, weight_decay, no_decay), optax.trace(momentum)]
    return _assembled(core, rate, clip, layer_decay, Stillness(freeze, thaw), rates)


@_recorded
def muon(
    learning_rate: float,
    steps: int,
    warmup: int = 0,
    schedule: str = "cosine",
    end: float = 0.0,
    power: float = 0.9,
    momentum: float = 0.95,
    nesterov: bool = True,
    rms: float = 0.2,
    b1: float = 0.9,
    b2: float = 0.95,
    epsilon: float = 1e-8,
    weight_decay: float = 0.05,
    no_decay: Sequence[str] = NO_DECAY,
    adam: Sequence[str] = NOT_HIDDEN,
    clip: float = 0.0,
    layer_decay: float = 1.0,
    freeze: Sequence[str] = (),
    thaw: Sequence[int] = (),
    rates: Rates = (),
) -> Optimiser:
    """Muon (Jordan et al. 2024): orthogonal updates for matrices and convolutions; AdamW for all other parameters and `adam`.

    With `rms` .2, updates are as large as AdamW's, so the learning rate and weight decay of an AdamW recipe fit both (Liu et al. 2025,
    section 2.2).  `adam` names the first and last layers, whose matrices do not map hidden features to hidden features.
    """
    rate = learning_rate_schedule(learning_rate, steps, warmup, schedule, end, power)
    parts = {"matrix": scale_by_orthogonal(momentum, nesterov, rms), "other": optax.scale_by_adam(b1, b2, epsilon)}
    core = [optax.partition(parts, lambda params: matrix_labels(params, adam)), _decay(weight_decay, no_decay)]
    return _assembled(core, rate, clip, layer_decay, Stillness(freeze, thaw), rates)


def decayed(params: Any, no_decay: Sequence[str] = NO_DECAY) -> Any:
    """Return True for each parameter with weight decay."""
    return tree.map_with_name(lambda name, _: not tree.matches(name, no_decay), params)


def _decay(weight_decay: optax.ScalarOrSchedule, no_decay: Sequence[str]) -> optax.GradientTransformation:
    return optax.add_decayed_weights(weight_decay, mask=lambda params: decayed(params, no_decay))


class Stillness(NamedTuple):
    """The frozen paths: always, or until the first step of `thaw`; from the second step on they have their full learning rate."""

    freeze: Sequence[str]
    thaw: Sequence[int]


def _assembled(core: list[Any], rate: optax.Schedule, clip: float, layer_decay: float, still: Stillness, rates: Rates) -> Optimiser:
    if still.thaw and not still.freeze:
        raise UserError(f"thaw={tuple(still.thaw)} needs paths that stand still until then. Set --config.optimiser.freeze=('encoder/*',).")
    parts = [optax.clip_by_global_norm(clip)] if clip > 0 else []
    parts += core
    if layer_decay != 1.0:
        parts.append(scale_by_layer(layer_decay))
    if rates:
        parts.append(scale_by_path(rates))
    marked = functools.partial(labels, patterns=still.freeze)
    if still.thaw:
        held = optax.scale_by_schedule(released(still.thaw))
        parts.append(optax.partition({"moving": optax.identity(), "still": held}, marked))
    chain = optax.chain(*parts, optax.scale_by_learning_rate(rate))
    if still.freeze and not still.thaw:
        chain = optax.partition({"moving": chain, "still": optax.set_to_zero()}, marked)
    return Optimiser(chain.init, chain.update, rate)
