"""Selection of the trials of a space: all of a grid, random trials, or the proposals of Optuna."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from aeseg import spec
from aeseg.types import UserError

from .space import Fields, Space, draw, points, ranges

OPTUNA = {"optuna-tpe": "TPESampler", "optuna-cmaes": "CmaEsSampler"}
SAMPLERS = ("grid", "random", *OPTUNA)


def _ignore(number: int, value: float) -> None:
    """Ignore the result of a trial."""


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Proposes `trials` trials: `ask` returns the fields of a trial, the same in every call; `tell` gets its result."""

    trials: int
    ask: Callable[[int], Fields]
    tell: Callable[[int, float], None] = _ignore


def sampler(name: str, space: Space, trials: int, seed: int, workdir: str, larger_is_better: bool) -> Sampler:
    """Return a sampler by name; "" is grid for a finite space, and random for ranges.  0 trials mean all of a finite space.

    grid     all trials of a finite space, in order
    random   trials of a finite space in random order, each once; with ranges, independent draws from seed and number
    optuna-*  proposals of an Optuna sampler
    """
    name = name or ("random" if ranges(space) else "grid")
    if name not in SAMPLERS:
        raise UserError(f"The samplers are {', '.join(SAMPLERS)}; got {name!r}{spec.suggestion(name, list(SAMPLERS))}. Set --sampler.")
    if name == "grid" and ranges(space):
        raise UserError(f"A grid tries every value; {ranges(space)[0]} is a range. List its values, or set --sampler=random --trials=20.")
    if name == "grid" and trials:
        raise UserError(f"A grid tries all its {len(points(space))} trials; got --trials={trials}. Leave it out, or set --sampler=random.")
    if trials < 0 or (not trials and (ranges(space) or name in OPTUNA)):
        raise UserError(f"Expected the number of trials for {name}; got --trials={trials}. Set --trials=20.")
    if name in OPTUNA:
        study = Optuna(name, space, seed, workdir, larger_is_better)
        return Sampler(trials, study.ask, study.tell)
    if ranges(space):
        return Sampler(trials, lambda number: draw(space, _Drawn(np.random.default_rng((seed, number)))))
    every = points(space)
    order = np.random.default_rng(seed).permutation(len(every)) if name == "random" else range(len(every))
    kept = [every[index] for index in order][: trials or None]
    return Sampler(len(kept), kept.__getitem__)


class Optuna:
    """Proposals of an Optuna sampler.  The study is stored in the sweep's directory, and continues from there.

    A failed trial stays open in the study, and samplers skip it.  A trial whose draw was interrupted keeps its number and its drawn fields;
    the next `ask` draws the others.
    """

    def __init__(self, name: str, space: Space, seed: int, workdir: str, larger_is_better: bool):
        try:
            import optuna

            if name == "optuna-cmaes":
                import cmaes  # noqa: F401 (Optuna imports it at the first trial)
        except ImportError as error:
            raise UserError(f"--sampler={name} needs {error.name}, which is not installed. Run pip install -e '.[sweep]'.") from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._seed, self._optuna = space, seed, optuna
        self._make, self._workdir = getattr(optuna.samplers, OPTUNA[name]), workdir
        self._direction = "maximize" if larger_is_better else "minimize"

    @functools.cached_property
    def _study(self) -> Any:
        from optuna.storages.journal import JournalFileBackend

        os.makedirs(self._workdir, exist_ok=True)
        storage = self._optuna.storages.JournalStorage(JournalFileBackend(os.path.join(self._workdir, "optuna.log")))
        return self._optuna.create_study(storage=storage, study_name="sweep", direction=self._direction, load_if_exists=True)

    def ask(self, number: int) -> Fields:
        asked = self._study.trials[number : number + 1]
        if asked:
            with contextlib.suppress(ValueError):  # a field is missing
                return draw(self._space, self._optuna.trial.FixedTrial(asked[0].params))
        # One seed per trial: with a common seed, a resumed study would draw its first trials again.
        self._study.sampler = self._make(seed=int(np.random.SeedSequence((self._seed, number)).generate_state(1)[0]))
        return draw(self._space, self._optuna.trial.Trial(self._study, asked[0]._trial_id) if asked else self._study.ask())

    def tell(self, number: int, value: float) -> None:
        self._study.tell(number, value, skip_if_finished=True)


class _Drawn:
    """Chooses with a random generator."""

    def __init__(self, generator: np.random.Generator):
        self._generator = generator

    def suggest_categorical(self, name: str, choices: list[int]) -> int:
        return choices[int(self._generator.integers(len(choices)))]

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        return min(
            max(round(self.suggest_float(name, low - 0.5, high + 0.5, log=log)), low), high
        )  # both ends are as likely as other values

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        if log:
            return float(np.exp(self._generator.uniform(np.log(low), np.log(high))))
        return float(self._generator.uniform(low, high))
