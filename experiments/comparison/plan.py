"""Plan of a comparison: lower its steps, images, labels, seeds, trials and arms until it fits the minutes."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aeseg.types import UserError

from .verdict import labelled

TRIALS = ((1.0, 1.0), (1 / 3, 1.0), (3.0, 1.0), (1.0, 0.5), (1 / 3, 0.5), (1 / 9, 1.0))
"""(factor of the encoder's learning rate, fraction of the steps) of each trial; every arm gets the same first trials."""

PRETRAINING = 2
"""Steps of a pretraining per step of a segmentation."""

PROBES = 5
"""Health checks of a pretraining: before its first step and after each quarter."""

MARGIN = 1.15
"""Factor of the measured seconds, for safety."""

RESERVE = 20.0
"""Seconds for tables and pictures."""


class Part(NamedTuple):
    """An arm in the plan.

    trained   pretrained here
    longer    scratch that also trains for the seconds of its encoder's pretraining
    public    starts from public weights
    """

    name: str
    encoder: str
    against: str
    trained: bool
    longer: bool
    public: bool = False


class Costs(NamedTuple):
    """Measured seconds.

    step      a segmentation step, by encoder
    pretrain  a pretraining step, by arm
    image     scoring an image, by encoder
    run       overhead of a run, besides its steps and scores
    probe     a health check of a pretraining
    """

    step: dict[str, float]
    pretrain: dict[str, float]
    image: dict[str, float]
    run: float
    probe: float


class Plan(NamedTuple):
    """Amounts of training and scoring.

    labels    numbers of labelled images, ascending
    seeds     runs per arm and number of labels
    trials    trials per arm, on validation
    steps     steps of a segmentation
    validation, test   numbers of images to score
    lowered   a phrase for each request that was reduced
    """

    arms: tuple[Part, ...]
    labels: tuple[int, ...]
    seeds: int
    trials: int
    steps: int
    validation: int
    test: int
    lowered: tuple[str, ...] = ()

    @property
    def pretraining(self) -> int:
        """Return the steps of a pretraining."""
        return PRETRAINING * self.steps

    @property
    def tuned(self) -> int:
        """Return the number of labels in the trials: the middle count, or the larger of the middle two."""
        return self.labels[len(self.labels) // 2]


def seconds(plan: Plan, costs: Costs) -> dict[str, float]:
    """Return the seconds of a plan by part: pretraining, trials, runs."""
    parts = {"pretraining": 0.0, "trials": 0.0, "runs": 0.0}
    for arm in plan.arms:
        parts["pretraining"] += pretraining_seconds(plan, costs, arm)
        if not arm.longer:
            parts["trials"] += sum(trial_seconds(plan, costs, arm, number) for number in range(plan.trials))
        parts["runs"] += len(plan.labels) * plan.seeds * run_seconds(plan, costs, arm)
    return parts


def pretraining_seconds(plan: Plan, costs: Costs, arm: Part) -> float:
    """Return the seconds of an arm's pretraining."""
    return plan.pretraining * costs.pretrain[arm.name] + costs.run + PROBES * costs.probe if arm.trained else 0.0


def trial_seconds(plan: Plan, costs: Costs, arm: Part, number: int) -> float:
    """Return the seconds of a trial."""
    return TRIALS[number][1] * plan.steps * costs.step[arm.encoder] + costs.run + plan.validation * costs.image[arm.encoder]


def run_seconds(plan: Plan, costs: Costs, arm: Part) -> float:
    """Return the seconds of a run and its scores."""
    scored = (plan.validation + plan.test) * costs.image[arm.encoder]
    return run_steps(plan, costs, arm) * costs.step[arm.encoder] + costs.run + scored


def run_steps(plan: Plan, costs: Costs, arm: Part) -> int:
    """Return the steps of a run; a longer scratch also gets the seconds of its encoder's longest pretraining."""
    if not arm.longer:
        return plan.steps
    pretrained = [plan.pretraining * costs.pretrain[other.name] for other in plan.arms if other.trained and other.encoder == arm.encoder]
    return plan.steps + math.ceil(max(pretrained, default=0.0) / costs.step[arm.encoder])


def timed(wanted: Plan, costs: Costs) -> Plan:
    """Return the plan with only the arms that were timed."""
    known = [arm for arm in wanted.arms if arm.encoder in costs.step and (not arm.trained or arm.name in costs.pretrain)]
    trained = {arm.encoder for arm in known if arm.trained}
    return _with(wanted, [arm for arm in known if not arm.longer or arm.encoder in trained])


def fitted(wanted: Plan, costs: Costs, budget: float) -> Plan:
    """Return the first plan of `ladder` whose fewest steps fit `budget` seconds, with as many steps as fit, up to `wanted.steps`.

    Raises UserError if no plan fits.
    """
    allowed = (budget - RESERVE) / MARGIN
    for plan, fewest in ladder(timed(wanted, costs)):
        steps = min(wanted.steps, _most_steps(plan, costs, allowed))
        if steps >= min(fewest, wanted.steps):
            plan = plan._replace(steps=steps)
            return plan._replace(lowered=tuple(lowered(wanted, plan, costs)))
    least = MARGIN * sum(seconds(plan._replace(steps=fewest), costs).values()) + RESERVE
    slowest = max((arm.encoder for arm in plan.arms), key=lambda encoder: costs.step[encoder])
    raise UserError(
        f"Expected enough minutes for {fewest} steps of {len(plan.arms)} arms; --minutes leaves {max(0.0, budget) / 60:.1f}, and "
        f"{least / 60:.1f} are needed. {slowest} takes {costs.step[slowest]:.2f} s per step and {costs.image[slowest]:.2f} s per scored "
        f"image; a run adds {costs.run:.1f} s. Set --minutes higher, or set fewer --arms."
    )


def ladder(wanted: Plan) -> Iterator[tuple[Plan, int]]:
    """Yield (plan, fewest steps), from the wanted plan downwards; `fitted` takes the first that fits."""
    plan = wanted
    yield plan, 400
    plan = _limited(plan, validation=20)
    yield plan, 300
    plan = _limited(plan, test=50)
    yield plan, 200
    plan = _fewer_labels(plan, 3)
    yield plan, 200
    plan = _with(plan, [arm for arm in plan.arms if not arm.longer])
    yield plan, 200
    plan = _limited(plan, seeds=4)
    yield plan, 150
    plan = _limited(_fewer_labels(plan, 2), seeds=3)
    yield plan, 120
    plan = _limited(plan, trials=2, test=30, validation=10)
    yield plan, 80
    while len(compared := by_worth(plan.arms)) > 1:
        plan = _with(plan, [arm for arm in plan.arms if arm != compared[-1]])
        yield plan, 80
    plan = _limited(_fewer_labels(plan, 1), test=20)
    yield plan, 60
    yield plan, 30


def by_worth(arms: Sequence[Part]) -> list[Part]:
    """Return the compared arms in order of worth; a plan leaves out the last arm first.

    The order is: public weights, which the user names; the first method that pretrains here; public weights pretrained further; the other
    methods.
    """
    compared = [arm for arm in arms if arm.against and not arm.longer]
    first = next((arm for arm in compared if arm.trained and not arm.public), None)
    return sorted(compared, key=lambda arm: (arm.trained or not arm.public, arm != first, not arm.public))


def lowered(wanted: Plan, plan: Plan, costs: Costs) -> Iterator[str]:
    """Yield a phrase for each request that the plan reduces."""
    words = {"steps": "steps", "seeds": "seeds", "trials": "trials", "validation": "validation images", "test": "test images"}
    for name, word in words.items():
        if getattr(plan, name) < getattr(wanted, name):
            yield f"{getattr(plan, name)} {word} instead of {getattr(wanted, name)}"
    if plan.labels != wanted.labels:
        yield f"only {', '.join(map(str, plan.labels))} labelled images"
    for arm in wanted.arms:
        if arm not in plan.arms:
            yield f"without {arm.name}" + (f", {1000 * costs.step[arm.encoder]:.0f} ms per step" if arm.encoder in costs.step else "")


def _most_steps(plan: Plan, costs: Costs, allowed: float) -> int:
    """Return the largest number of steps that fits `allowed` seconds; the seconds are linear in the steps."""
    none, many = (sum(seconds(plan._replace(steps=steps), costs).values()) for steps in (0, 1000))
    return max(0, math.floor((allowed - none) / (many - none) * 1000))


def _limited(plan: Plan, **limits: int) -> Plan:
    """Return the plan with fields lowered to `limits`."""
    return plan._replace(**{name: min(most, getattr(plan, name)) for name, most in limits.items()})  # type: ignore[arg-type]


def _fewer_labels(plan: Plan, most: int) -> Plan:
    """Return the plan with at most `most` label counts: the largest, then also the smallest, then also the middle count."""
    if len(plan.labels) <= most:
        return plan
    first, *_, last = plan.labels
    return plan._replace(labels={1: (last,), 2: (first, last), 3: (first, plan.labels[len(plan.labels) // 2], last)}[most])


def _with(plan: Plan, arms: Sequence[Part]) -> Plan:
    """Return the plan with these arms, without the scratch arms that no other arm needs."""
    needed = {arm.against for arm in arms}
    return plan._replace(arms=tuple(arm for arm in arms if arm.against or arm.name in needed))


def text(plan: Plan, costs: Costs, budget: float) -> str:
    """Return the plan as lines to print."""
    parts = {name: MARGIN * value / 60 for name, value in seconds(plan, costs).items()}
    runs = len(plan.arms) * len(plan.labels) * plan.seeds
    trials = f"{plan.trials} trial{'s' if plan.trials > 1 else ''} per arm with {labelled(plan.tuned)}"
    lines = [
        f"Plan: {len(plan.arms)} arms, {', '.join(map(str, plan.labels))} labelled images, {plan.seeds} seeds: {runs} runs of {plan.steps} "
        f"steps; {trials}; {plan.pretraining} steps per pretraining.",
        f"  pretraining {parts['pretraining']:.1f} min, trials {parts['trials']:.1f} min, runs {parts['runs']:.1f} min; "
        f"{budget / 60:.1f} min are left; {plan.validation} validation and {plan.test} test images.",
    ]
    return "\n".join([*lines, *(f"  lowered: {line}" for line in plan.lowered), *_arms(plan, costs)])


def _arms(plan: Plan, costs: Costs) -> Sequence[str]:
    width = max(len(arm.name) for arm in plan.arms)
    return [
        f"  {arm.name:<{width}}  {1000 * costs.step[arm.encoder]:.0f} ms per step"
        + (f", pretraining {1000 * costs.pretrain[arm.name]:.0f} ms per step" if arm.trained else "")
        + (f", {run_steps(plan, costs, arm)} steps" if arm.longer else "")
        for arm in plan.arms
    ]
