"""experiments/comparison/clock.py: work begins only if it ends before the deadline; the bar shows planned seconds, and seconds left."""

import time
import types

import pytest

from experiments.comparison import clock as clock_module
from experiments.comparison.clock import Clock, OutOfTimeError


class Bar:
    """Keep what is shown."""

    def __init__(self):
        self.shown = []

    def at(self, percent, task="", left=None):
        self.shown.append((percent, task))
        self.left = left


@pytest.fixture
def now(monkeypatch):
    """The time, which a test sets."""
    time_now = types.SimpleNamespace(monotonic=lambda: time_now.seconds, seconds=1000.0)
    monkeypatch.setattr(clock_module, "time", time_now)
    return time_now


def test_work_begins_only_if_it_ends_before_the_deadline():
    clock = Clock(Bar(), time.monotonic() + 60)
    assert clock.fits(50)
    assert not clock.fits(70)
    clock.check(50)
    with pytest.raises(OutOfTimeError):
        clock.check(70)


def test_a_run_gets_the_minutes_that_are_left_and_never_0_which_has_no_limit():
    now = time.monotonic()
    assert Clock(Bar(), now + 120).minutes == pytest.approx(2, abs=0.1)
    assert 0 < Clock(Bar(), now - 60).minutes < 0.01


def test_without_a_deadline_all_work_fits_and_runs_have_no_limit():
    clock = Clock(Bar())
    clock.check(1e9)
    assert clock.minutes == 0


def test_the_bar_shows_the_planned_seconds_of_finished_work():
    clock = Clock(Bar(), planned=200)
    clock.skip(50)
    with clock.task("a: pretraining", 10):
        clock.stepped()
        clock.stepped()
    clock.stepped()
    clock.skip(500)
    assert clock.bar.shown == [(25, ""), (25, "a: pretraining"), (30, ""), (35, ""), (35, ""), (100, "")]


def test_steps_before_the_plan_leave_the_bar_at_0_without_a_time():
    clock = Clock(Bar())
    clock.stepped()
    assert clock.bar.shown == [(0, "")]
    assert clock.bar.left is None


def test_the_seconds_left_follow_the_pace_of_this_call_and_skipped_work_does_not_count(now):
    clock = Clock(Bar(), now.seconds + 10_000, planned=400)
    clock.skip(200)
    assert clock.bar.left == 200, "as planned, before the first step"
    with clock.task("a: 1 label, seed 1", 10):
        now.seconds += 30
        clock.stepped()
    assert clock.bar.left == 3 * 190, "30 s took 10 planned seconds"


def test_the_seconds_left_end_at_the_deadline(now):
    clock = Clock(Bar(), now.seconds + 60, planned=400)
    clock.skip(100)
    assert clock.bar.left == 60
    now.seconds += 70
    clock.skip(100)
    assert clock.bar.left == 0


def test_further_work_gives_the_bar_further_seconds(now):
    clock = Clock(Bar(), now.seconds + 1000, planned=100)
    clock.skip(100)
    assert (clock.bar.shown[-1], clock.bar.left) == ((100, ""), 0)
    clock.replan(300)
    with clock.task("a: 1 label, seed 6", 10):
        assert (clock.bar.shown[-1], clock.bar.left) == ((25, "a: 1 label, seed 6"), 300)
