"""experiments/console/progress.py: lines with what is finished and the seconds left, and a bar on a terminal."""

import io
import types

import pytest

from experiments.console import progress
from experiments.console.progress import Progress


@pytest.fixture
def now(monkeypatch):
    """The time, which a test sets."""
    time = types.SimpleNamespace(perf_counter=lambda: time.seconds, seconds=0.0)
    monkeypatch.setattr(progress, "time", time)
    return time


def test_a_line_has_the_seconds_left_at_the_rate_so_far(now, capsys):
    with Progress("evaluating", 40, every=10) as bar:
        now.seconds = 9
        bar.at(5)
        now.seconds = 20
        bar.at(10)
    assert capsys.readouterr().err == "evaluating 10/40  0.50 images/s  60 s left\n"


def test_a_line_has_the_seconds_left_that_the_caller_knows(now, capsys):
    """Without a rate: most of the work may have been finished by an earlier call."""
    with Progress("compare", 100, unit="%") as bar:
        now.seconds = 20
        bar.at(60, task="spark: 4 labels, seed 6", left=150.4)
    assert capsys.readouterr().err == "spark: 4 labels, seed 6 60/100 %  150 s left\n"


def test_nothing_is_left_to_say_before_the_first_item(now, capsys):
    with Progress("compare", 100, unit="%") as bar:
        now.seconds = 20
        bar.at(0, task="compiling")
    assert capsys.readouterr().err == "compiling 0/100  0.00 %/s\n"


def test_the_bar_of_a_terminal_has_the_callers_seconds(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Progress("compare", 100) as bar:
        bar.at(100, task="seed 6", left=150.4)
    assert "seed 6" in terminal.getvalue()
    assert "0:02:30" in terminal.getvalue()
