"""experiments/comparison/schedule.py and training.py: the deadline interrupts a run; later calls and further seeds use all minutes."""

import time
from types import SimpleNamespace

import pytest

from aeseg.runs.train import Outcome
from experiments.comparison import schedule, training
from experiments.comparison.clock import Clock, OutOfTimeError
from experiments.comparison.plan import Costs, Part, Plan
from experiments.comparison.work import Work


@pytest.fixture
def three_minutes(tmp_path):
    images = SimpleNamespace(validation=[0], test=[0])
    bar = SimpleNamespace(say=print, shown=[], at=lambda *shown, **more: bar.shown.append((*shown, *more.values())))
    plan = Plan((Part("a", "a", "", False, False),), (1,), 1, 1, 30, 1, 1)
    costs = Costs({"a": 1.0}, {}, {"a": 0.0}, 0.0, 0.0)
    return Work(str(tmp_path), images, {}, plan, costs, (8, 8), 1, Clock(bar, time.monotonic() + 180, planned=30), {})


def test_a_run_gets_the_remaining_minutes_and_its_seconds_include_all_calls(three_minutes, monkeypatch):
    outcomes, given = iter([Outcome(3, {}, False, 5.0, ""), Outcome(9, {"mean_iou": 0.5}, True, 2.0, "")]), []

    def train(run, path, start, programs, evaluate, minutes):
        given.append(minutes)
        return next(outcomes)

    monkeypatch.setattr(training, "train", train)
    path = f"{three_minutes.folder}/arms/spark/1-1"
    with pytest.raises(OutOfTimeError):
        training.trained(three_minutes, None, path, None)
    assert training.trained(three_minutes, None, path, None).seconds == 7.0
    assert given == pytest.approx([3.0, 3.0], abs=0.1)


def test_a_run_after_the_deadline_still_stops(three_minutes, monkeypatch):
    given = []
    monkeypatch.setattr(training, "train", lambda *arguments: given.append(arguments[-1]) or Outcome(1, {}, False, 1.0, ""))
    three_minutes.clock.deadline = time.monotonic() - 60
    with pytest.raises(OutOfTimeError):
        training.trained(three_minutes, None, f"{three_minutes.folder}/run", None)
    assert 0 < given[0] < 0.01, "0 minutes would have no limit"


@pytest.fixture
def begun(three_minutes, monkeypatch):
    """The seeds of the runs begun; a run takes 40 s of the three minutes, and 30 planned seconds."""
    seeds = []

    def run(work, stage, shared):
        seeds.append(work.plan.seeds)
        with work.clock.task(f"seed {work.plan.seeds}", 15):
            work.clock.stepped()
            work.clock.deadline -= 40
            work.clock.stepped()
        work.write("results", {"arm": "a", "labels": 1, "seed": work.plan.seeds, "seconds": 40.0})

    monkeypatch.setattr(schedule, "_stages", lambda work: iter([()]))
    monkeypatch.setattr(schedule, "_run", run)
    return seeds


def test_minutes_that_the_plan_leaves_go_to_further_seeds_that_fit(three_minutes, begun):
    schedule.finish(three_minutes, most_seeds=9)
    assert begun == [1, 2, 3, 4], "40 s each, and 1.1 times as long must fit"
    assert not three_minutes.warnings
    three_minutes.clock.deadline += 600
    schedule.finish(three_minutes, most_seeds=three_minutes.plan.seeds)
    assert begun[4:] == [4], "no more seeds than asked for"


def test_the_bar_counts_the_further_seeds_that_fit_and_ends_at_100(three_minutes, begun):
    """After the first seed 140 s are left: three further seeds of 44 s, in all 120 planned seconds; steps are half a seed."""
    three_minutes.clock._began -= 30  # a pace of about 1
    schedule.finish(three_minutes, most_seeds=9)
    percents = [percent for percent, _, _ in three_minutes.clock.bar.shown]
    assert percents == [0, 50, 100, *(25, 38, 50), *(50, 62, 75), *(75, 88, 100)]
    left = {task: seconds for _, task, seconds in three_minutes.clock.bar.shown if task}
    assert list(left) == ["seed 1", "seed 2", "seed 3", "seed 4"]
    assert all(0 < seconds <= 180 for seconds in left.values())
    assert left["seed 2"] > left["seed 3"] > left["seed 4"]
