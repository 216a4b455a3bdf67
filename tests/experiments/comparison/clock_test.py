"""experiments/comparison/clock.py: work begins only if it ends before the deadline, and the bar shows planned seconds."""

import time

import pytest

from experiments.comparison.clock import Clock, OutOfTimeError


class Bar:
    """Keep what is shown."""

    def __init__(self):
        self.shown = []

    def at(self, percent, task=""):
        self.shown.append((percent, task))


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
    clock.advance(50)
    with clock.task("a: pretraining", 10):
        clock.stepped()
        clock.stepped()
    clock.stepped()
    clock.advance(500)
    assert clock.bar.shown == [(25, ""), (25, "a: pretraining"), (30, ""), (35, ""), (35, ""), (100, "")]


def test_steps_before_the_plan_leave_the_bar_at_0():
    clock = Clock(Bar())
    clock.stepped()
    assert clock.bar.shown == [(0, "")]
