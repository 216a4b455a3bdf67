"""Schedules of the learning rate and of the weight decay."""

import optax

from aeseg.types import UserError


def learning_rate_schedule(peak: float, steps: int, warmup: int, shape: str, end: float, power: float) -> optax.Schedule:
    """Linear warm-up from 0 over `warmup` steps, then `shape`: constant | cosine | polynomial | exponential, to `end` * peak at `steps`.

    Cosine: Loshchilov & Hutter 2017, eq. 5 (no restarts). Polynomial: (1 - t)^power (Chen et al. 2018, DeepLab). Exponential:
    end^t, the same factor each step; for a factor of .995 per epoch (Jegou et al. 2017) set `end` to .995^epochs.

    >>> schedule = learning_rate_schedule(1.0, steps=10, warmup=2, shape="cosine", end=0.0, power=1.0)
    >>> [round(float(schedule(step)), 2) for step in (0, 1, 2, 6, 10)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if not 0 <= warmup <= steps:
        raise UserError(f"warmup must lie between 0 and steps ({steps}); got {warmup}. Set --config.optimiser.warmup.")
    if shape == "exponential" and not 0 < end <= 1:
        raise UserError(
            f"An exponential schedule needs 0 < end <= 1; got {end}. "
            "Set --config.optimiser.end, for example to 0.995**100 for a factor of 0.995 in each of 100 epochs."
        )
    rest = max(1, steps - warmup)
    shapes = {
        "constant": lambda: optax.constant_schedule(peak),
        "cosine": lambda: optax.cosine_decay_schedule(peak, rest, alpha=end),
        "polynomial": lambda: optax.polynomial_schedule(peak, peak * end, power, rest),
        "exponential": lambda: optax.exponential_decay(peak, rest, end),
    }
    if shape not in shapes:
        raise UserError(f"schedule must be one of {sorted(shapes)}; got {shape!r}. Set --config.optimiser.schedule.")
    if warmup == 0:
        return shapes[shape]()
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), shapes[shape]()], [warmup])


def weight_decay_schedule(start: float, growth: float, steps: int) -> optax.ScalarOrSchedule:
    """Half a cosine from `start` to `growth` * start at `steps` (Caron et al. 2021, DINO, section 3.2: .04 to .4).

    SparK's .04 to .2 is a growth of 5. A growth of 1 returns the constant `start`.
    """
    if growth < 0:
        raise UserError(f"weight_decay_growth must be at least 0; got {growth}. Set --config.optimiser.weight_decay_growth.")
    return start if growth == 1 else optax.cosine_decay_schedule(start, steps, alpha=growth)
