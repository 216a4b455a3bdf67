"""experiments/comparison/work.py: the deadline interrupts a run, and the next call continues it."""

import time
from types import SimpleNamespace

import pytest

from aeseg.runs.train import Outcome
from experiments.comparison import work
from experiments.comparison.clock import Clock, OutOfTimeError
from experiments.comparison.plan import Costs, Plan


@pytest.fixture
def three_minutes(tmp_path):
    images, bar = SimpleNamespace(validation=[0], test=[0]), SimpleNamespace(say=print)
    plan = Plan((), (1,), 1, 1, 9, 1, 1)
    return work.Work(str(tmp_path), images, {}, plan, Costs({}, {}, {}, 0.0, 0.0), (8, 8), 1, Clock(bar, time.monotonic() + 180), {})


def test_a_run_gets_the_remaining_minutes_and_its_seconds_include_all_calls(three_minutes, monkeypatch):
    outcomes, given = iter([Outcome(3, {}, False, 5.0, ""), Outcome(9, {"mean_iou": 0.5}, True, 2.0, "")]), []

    def train(run, path, start, programs, evaluate, minutes):
        given.append(minutes)
        return next(outcomes)

    monkeypatch.setattr(work, "train", train)
    path = f"{three_minutes.folder}/arms/spark/1-1"
    with pytest.raises(OutOfTimeError):
        three_minutes.trained(None, path, None)
    assert three_minutes.trained(None, path, None).seconds == 7.0
    assert given == pytest.approx([3.0, 3.0], abs=0.1)


def test_a_run_after_the_deadline_still_stops(three_minutes, monkeypatch):
    given = []
    monkeypatch.setattr(work, "train", lambda *arguments: given.append(arguments[-1]) or Outcome(1, {}, False, 1.0, ""))
    three_minutes.clock.deadline = time.monotonic() - 60
    with pytest.raises(OutOfTimeError):
        three_minutes.trained(None, f"{three_minutes.folder}/run", None)
    assert 0 < given[0] < 0.01, "0 minutes would have no limit"


def test_minutes_that_the_plan_leaves_go_to_further_seeds_that_fit(three_minutes, monkeypatch):
    begun = []

    def run(stage):
        begun.append(three_minutes.plan.seeds)
        three_minutes._write("results", {"arm": "a", "labels": 1, "seed": three_minutes.plan.seeds, "seconds": 40.0})
        three_minutes.clock.deadline -= 40

    monkeypatch.setattr(three_minutes, "_stages", lambda: iter([()]))
    monkeypatch.setattr(three_minutes, "_run", run)
    three_minutes.most_seeds = 9
    three_minutes.all()
    assert begun == [1, 2, 3, 4], "40 s each, and 1.1 times as long must fit"
    assert not three_minutes.warnings
    three_minutes.most_seeds = three_minutes.plan.seeds
    three_minutes.clock.deadline += 600
    three_minutes.all()
    assert begun[4:] == [4], "no more seeds than asked for"
