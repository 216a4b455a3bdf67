"""experiments/soak.py: the reduced soak has no failures, real failures are reported, and an interrupted soak resumes."""

import json
import os
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from aeseg.importers import vit
from aeseg.spec import build
from aeseg.types import UserError
from experiments import soak
from experiments.console import cli
from experiments.soaking import bad_configs, bad_files, journal, properties, runs
from experiments.soaking.journal import Case, Outcome
from experiments.soaking.worker import Clock, Lost, Worker


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_reduced_soak_loses_nothing(tmp_path, capsys):
    code = cli.guarded(soak.run, ["soak", "--reduced", f"--workdir={tmp_path}"])
    printed = capsys.readouterr()
    assert code == 0, printed.out + printed.err
    counts = {}
    for path in tmp_path.glob("*/summary.json"):
        counts |= json.loads(path.read_text())["counts"]
    assert counts["kills"] >= 1
    assert counts["damages"] == 6
    assert counts["full disks"] == 2
    assert counts["bad inputs"] >= 10
    assert counts["examples"] >= properties.REDUCED * properties.examples.TIMES * len(properties.TESTS)


def test_a_good_png_is_read_and_a_png_without_height_is_not():
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    decoded = cv2.imdecode(np.frombuffer(bad_files.png(pixels), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, pixels)
    assert cv2.imdecode(np.frombuffer(bad_files.claimed(5, 0), np.uint8), cv2.IMREAD_UNCHANGED) is None
    names = [f"{name}.{ending}" for name, ending, _ in bad_files.images(np.random.default_rng(0))]
    assert len(set(names)) == len(names)


def test_done_cases_are_not_tried_again_and_failures_only_on_request(tmp_path):
    tried, path, said = [], str(tmp_path / "cases.jsonl"), []

    def case(name, *failures):
        return Case(name, lambda: tried.append(name) or Outcome({"things": 2}, failures))

    cases = [case("a"), case("b", "it broke")]
    assert not journal.tried(cases, path, 0.0, said.append)
    assert tried == []
    assert journal.tried(cases, path, float("inf"), said.append)
    assert journal.tried(cases, path, float("inf"), said.append)
    assert tried == ["a", "b"]
    assert said == ["b: it broke"]
    line = journal.summary("part", 0, "full", path)
    assert (line["counts"], line["failures"], line["cases"]) == ({"things": 4}, ["b: it broke"], 2)
    journal.forget_failures(path)
    journal.tried(cases, path, float("inf"), said.append)
    assert tried == ["a", "b", "b"]


def test_what_is_damaged_is_valid_before():
    assert build(vit.spec_of(bad_configs.VIT)).width == 8
    assert set(bad_configs.HARMLESS) <= set(bad_configs.FLAGS)
    assert len(set(bad_configs.FLAGS)) == len(bad_configs.FLAGS)


def test_the_results_page_shows_the_last_full_line_of_each_part(monkeypatch):
    common = {"seconds": 120.0, "commit": "abc", "scale": "full"}
    recorded = [
        {**common, "part": "kills", "counts": {"kills": 1}, "failures": ["x"]},
        {**common, "part": "kills", "counts": {"kills": 66, "while saving": 30}, "failures": []},
        {**common, "part": "inputs", "counts": {"bad inputs": 2000}, "failures": [], "scale": "reduced"},
    ]
    monkeypatch.setattr(journal.measurements, "lines", lambda name: recorded)
    assert journal.table().splitlines()[-1] == "| kills | 66 kills, 30 while saving | 0 | 2.0 | abc |"


def test_an_unknown_part_is_named(tmp_path):
    with pytest.raises(UserError, match="got 'kill'"):
        soak.run(["soak", "--parts=kill", f"--workdir={tmp_path}"])


def test_differences_between_two_runs_are_named():
    one = {"step": 12, "state": {"a": 1, "b": 2}, "rows": [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.4}]}
    assert runs.differences(one, one) == ()
    other = {"step": 11, "state": {"a": 1, "b": 3}, "rows": one["rows"][:1]}
    sentences = " ".join(runs.differences(one, other))
    assert "last step is 11, not 12" in sentences
    assert "1 leaves of the state differ, such as ['b']" in sentences
    assert "has 1 rows, not 2" in sentences


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ({"code": 2, "said": "Expected a; got b. Set c.", "traceback": ""}, ""),
        ({"code": 2, "said": "", "traceback": ""}, "expected a sentence"),
        ({"code": 0, "said": "Fine.", "traceback": ""}, "exit code 0, expected 2"),
        ({"code": 1, "said": "", "traceback": "Traceback ...\nValueError: x"}, "traceback: ValueError: x"),
        ({"code": 2, "said": "Traceback (most recent call last):\nx", "traceback": ""}, "prints a traceback"),
    ],
)
def test_a_wrong_refusal_is_named(answer, wrong):
    assert runs.refusal(answer)[: len(wrong) or None] == wrong


def test_the_death_or_silence_of_a_worker_raises_lost(tmp_path, monkeypatch):
    with Worker(str(tmp_path / "log")) as worker:
        worker.give({"do": "command", "module": "soak", "argv": ["--help"]})
        assert worker.answer(100)["code"] == 0
        os.kill(worker.pid, 9)
        with pytest.raises(Lost, match="SIGKILL"):
            worker.ask({"do": "command", "module": "soak", "argv": ["--help"]}, 100)
        with pytest.raises(Lost, match="no answer in 0 s"):
            worker.ask({"do": "command", "module": "soak", "argv": ["--help"]}, 0.1)
        assert worker.pid == 0


def test_a_false_property_is_a_failure_with_its_example(tmp_path, monkeypatch):
    def small(draw, folder):
        from hypothesis import strategies as st

        assert draw(st.integers(0, 1000)) < 500

    monkeypatch.setattr(properties, "TESTS", {small: 1})
    setting = runs.Setting(0, "full", str(tmp_path), None)
    (case,) = properties.cases(setting)
    (failure,) = case.run().failures
    assert "500" in failure


def test_a_process_that_waits_for_a_core_is_not_late_and_one_that_sleeps_is():
    """Two processes share one core, and each has half of its seconds."""
    spin = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\nwhile True: pass"
    spinning = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(4)]
    sleeping = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    clocks = [Clock(process.pid) for process in (*spinning, sleeping)]
    time.sleep(3)
    seconds = [clock.seconds() for clock in clocks]
    for process in (*spinning, sleeping):
        process.kill()
        process.wait()
    assert min(seconds[:4]) < 2
    assert seconds[4] > 2
