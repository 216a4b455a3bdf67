"""Schedule of a comparison: every missing pretraining, trial and run, until the minutes end."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator

from aeseg.types import UserError

from ..machine import copies
from . import tasks
from .arms import Arm
from .clock import OutOfTimeError
from .plan import seconds
from .work import Work

Task = tuple[Arm, str, Callable[[], None]]
"""(arm, name of its workdir, function)."""


def finish(work: Work, most_seeds: int = 0, shared: bool = False) -> None:
    """Do the missing pretrainings and trials arm by arm, then the missing runs seed by seed; stop in time.

    Minutes that the plan leaves go to further seeds, up to `most_seeds`: a seed begins if all its runs fit.  If `shared`, other processes
    do the same work.
    """
    with contextlib.suppress(OutOfTimeError):
        for stage in _stages(work):
            _run(work, stage, shared)
        while further := _further_seeds(work, most_seeds):
            work.clock.replan(further * seconds(work.plan._replace(seeds=1), work.costs)["runs"])
            work.plan = work.plan._replace(seeds=work.plan.seeds + 1)
            _run(work, _seed(work, work.plan.seeds), shared)
        return
    runs = {(line["arm"], line["labels"], line["seed"]) for line in work.lines("results")}
    missing = len(work.plan.arms) * len(work.plan.labels) * work.plan.seeds - len(runs)
    work.warn(f"The minutes are over; {missing} runs are missing. The same command continues.")


def _further_seeds(work: Work, most_seeds: int) -> int:
    """Return how many more seeds fit, if each takes as long as the first seed's runs and a tenth more."""
    needed = 1.1 * sum(line["seconds"] for line in work.lines("results") if line["seed"] == 1)
    return sum(work.clock.fits(number * needed) for number in range(1, most_seeds - work.plan.seeds + 1))


def _stages(work: Work) -> Iterator[Iterator[Task]]:
    """Yield stages of tasks; a stage needs the results of the stages before it."""
    arms = {part: work.arms[part.name] for part in work.plan.arms}
    yield ((arm, "pretraining", functools.partial(tasks.pretrain, work, arm)) for part, arm in arms.items() if part.trained)
    yield (
        (arm, f"trial-{number}", functools.partial(tasks.trial, work, arm, number))
        for part, arm in arms.items()
        for number in range(0 if part.longer else work.plan.trials)
    )
    yield from (_seed(work, seed) for seed in range(1, work.plan.seeds + 1))


def _seed(work: Work, seed: int) -> Iterator[Task]:
    """Yield the runs of a seed."""
    for labels in reversed(work.plan.labels):
        for part in work.plan.arms:
            arm = work.arms[part.name]
            yield arm, f"{labels}-{seed}", functools.partial(tasks.score, work, arm, labels, seed)


def _run(work: Work, stage: Iterable[Task], shared: bool) -> None:
    locked = ((f"{work.workdir(arm, name)}.lock", functools.partial(_guarded, work, arm.name, task)) for arm, name, task in stage)
    copies.each(locked, shared)


def _guarded(work: Work, name: str, task: Callable[[], None]) -> None:
    """Do a task of an arm; a UserError ends only this arm."""
    if name in work.failed or work.arms[name].against in work.failed:
        return
    try:
        task()
    except UserError as error:
        work.failed.add(name)
        work.warn(f"{name}: failed. {' '.join(str(error).split())}")
