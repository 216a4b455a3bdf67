"""Which trials of a space are run: all of a grid, random ones, or those that Optuna proposes."""

import contextlib
import os
from typing import Any, Protocol

import numpy as np

from aeseg import spec
from aeseg.types import UserError

from .space import Fields, Space, draw, points, ranges

OPTUNA = {"optuna-tpe": "TPESampler", "optuna-cmaes": "CmaEsSampler"}
SAMPLERS = ("grid", "random", *OPTUNA)


class Sampler(Protocol):
    """Proposes `trials` trials by number, always the same for the same number, and hears what came of them."""

    trials: int

    def ask(self, number: int) -> Fields: ...

    def tell(self, number: int, value: float) -> None: ...


def sampler(name: str, space: Space, trials: int, seed: int, workdir: str, larger_is_better: bool) -> Sampler:
    """The sampler of that name; "" is the grid of a finite space, and random for one with ranges.  0 trials are all of a finite space."""
    name = name or ("random" if ranges(space) else "grid")
    if name not in SAMPLERS:
        raise UserError(f"The samplers are {', '.join(SAMPLERS)}; got {name!r}{spec.suggestion(name, list(SAMPLERS))}. Set --sampler.")
    if name == "grid" and ranges(space):
        raise UserError(f"A grid tries every value; {ranges(space)[0]} is a range. Name its values, or set --sampler=random --trials=20.")
    if name == "grid" and trials:
        raise UserError(
            f"A grid is tried whole, here {len(points(space))} trials; got --trials={trials}. Leave it out, or set --sampler=random."
        )
    if trials < 0 or (not trials and (ranges(space) or name in OPTUNA)):
        raise UserError(f"Expected how many trials {name} shall draw; got --trials={trials}. Set --trials=20.")
    if name in OPTUNA:
        return Optuna(name, space, trials, seed, workdir, larger_is_better)
    return Random(space, trials, seed) if ranges(space) else Listed(space, trials, seed if name == "random" else None)


class Listed:
    """The trials of a finite space: all in order, or, with a seed, the first of them shuffled, none twice."""

    def __init__(self, space: Space, trials: int, seed: int | None):
        every = points(space)
        order = range(len(every)) if seed is None else np.random.default_rng(seed).permutation(len(every))
        self._points = [every[place] for place in order][: trials or None]
        self.trials = len(self._points)

    def ask(self, number: int) -> Fields:
        return self._points[number]

    def tell(self, number: int, value: float) -> None:
        """What came of one trial changes nothing for the next."""


class Random:
    """Trials drawn independently, each from a generator of (seed, number)."""

    def __init__(self, space: Space, trials: int, seed: int):
        self.trials, self._space, self._seed = trials, space, seed

    def ask(self, number: int) -> Fields:
        return draw(self._space, _Drawn(np.random.default_rng((self._seed, number))))

    def tell(self, number: int, value: float) -> None:
        """What came of one trial changes nothing for the next."""


class Optuna:
    """Trials that a sampler of Optuna proposes; its study lives in the sweep's directory, and goes on from there.

    A trial that failed stays open in the study, where samplers pass it over.  One whose draw was cut off keeps its number and the
    fields that it has; the others are drawn when it is asked for again.
    """

    def __init__(self, name: str, space: Space, trials: int, seed: int, workdir: str, larger_is_better: bool):
        try:
            import optuna

            if name == "optuna-cmaes":
                import cmaes  # noqa: F401 (Optuna imports it at the first trial)
        except ImportError as error:
            raise UserError(f"--sampler={name} needs {error.name}, which is not installed. Run pip install -e '.[sweep]'.") from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.trials, self._space, self._seed, self._optuna = trials, space, seed, optuna
        self._make, self._workdir = getattr(optuna.samplers, OPTUNA[name]), workdir
        self._direction = "maximize" if larger_is_better else "minimize"
        self._opened: Any = None

    @property
    def _study(self) -> Any:
        if self._opened is None:
            from optuna.storages.journal import JournalFileBackend

            os.makedirs(self._workdir, exist_ok=True)
            storage = self._optuna.storages.JournalStorage(JournalFileBackend(os.path.join(self._workdir, "optuna.log")))
            self._opened = self._optuna.create_study(storage=storage, study_name="sweep", direction=self._direction, load_if_exists=True)
        return self._opened

    def ask(self, number: int) -> Fields:
        asked = self._study.trials[number : number + 1]
        if asked:
            with contextlib.suppress(ValueError):  # a field is missing
                return draw(self._space, self._optuna.trial.FixedTrial(asked[0].params))
        # A seed for each trial: with one for all, a study that goes on would draw its first trials again.
        self._study.sampler = self._make(seed=int(np.random.SeedSequence((self._seed, number)).generate_state(1)[0]))
        return draw(self._space, self._optuna.trial.Trial(self._study, asked[0]._trial_id) if asked else self._study.ask())

    def tell(self, number: int, value: float) -> None:
        self._study.tell(number, value, skip_if_finished=True)


class _Drawn:
    """Chooses by a generator."""

    def __init__(self, generator: np.random.Generator):
        self._generator = generator

    def suggest_categorical(self, name: str, choices: list[int]) -> int:
        return choices[int(self._generator.integers(len(choices)))]

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        return min(max(round(self.suggest_float(name, low - 0.5, high + 0.5, log=log)), low), high)  # both ends as likely as the others

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        if log:
            return float(np.exp(self._generator.uniform(np.log(low), np.log(high))))
        return float(self._generator.uniform(low, high))
