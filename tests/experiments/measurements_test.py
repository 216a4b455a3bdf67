"""experiments/measurements.py: no row twice, each after the one it starts from, and a failure stops none but those that need it."""

import json
import os
import shutil
import subprocess
import sys
import threading
import types

import pytest

from aeseg.types import UserError
from experiments import commands, measurements
from experiments.papers import Row

PAPER = types.SimpleNamespace(
    SEEDS=2,
    SPLIT="test",
    ROWS=(
        Row("denoising", "pretrain", "pretrain"),
        Row("scratch", "segment", "segment", {"freeze": "scratch"}),
        Row("pretrained", "segment", "segment", init="denoising", compare="scratch"),
    ),
)


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """The commands called, none of which trains; those whose workdir is in `failing` fail."""
    seen = types.SimpleNamespace(commands=[], shares=[], failing=set(), most=0)
    lock, running = threading.Lock(), []

    def call(command, share, log="", capture=False):
        if capture:
            return json.dumps({"device": "none", "commit": "abc"})
        place = next(flag.split("=", 1)[1] for flag in command if flag.startswith("--workdir="))
        with lock:
            seen.commands.append(command)
            seen.shares.append(share)
            running.append(place)
            seen.most = max(seen.most, len(running))
        if os.path.basename(place) in seen.failing:
            running.remove(place)
            raise UserError("exit code 3: no space")
        for flag in command:
            if flag.startswith("--init="):
                assert os.path.isdir(flag.split("=", 1)[1]), "it was started before what it starts from"
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, "metrics.json"), "w", encoding="utf-8") as file:
            per_class = [{"name": "disc", "iou": 0.25, "dice": 0.4}]
            json.dump({"test": {"mean_iou": 0.5, "per_class": per_class, "confusion": [[1]]}}, file)
        running.remove(place)
        return ""

    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(commands, "call", call)
    return seen


def measure(tmp_path, jobs=1):
    return measurements.measure_missing("table", PAPER, str(tmp_path / "runs"), {}, jobs)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_row_and_seed_is_measured_once(calls, tmp_path, monkeypatch, jobs):
    monkeypatch.setattr(commands, "_gpus", lambda: ["0", "1"])
    assert measure(tmp_path, jobs) == {}
    found = measurements.lines("table")
    assert sorted((line["row"], line["seed"]) for line in found) == sorted((row.name, seed) for row in PAPER.ROWS for seed in range(2))
    assert found[0]["numbers"] == {"mean_iou": 0.5, "iou_disc": 0.25, "dice_disc": 0.4}
    assert found[0]["device"] == "none"
    before = len(calls.commands)
    assert measure(tmp_path, jobs) == {}
    assert len(calls.commands) == before == 12
    assert calls.most <= jobs
    assert {share.get("gpu") for share in calls.shares} <= ({None} if jobs == 1 else {"0", "1"})


def test_a_row_that_fails_stops_only_those_that_start_from_it(calls, tmp_path):
    calls.failing = {"denoising-0"}
    failed = measure(tmp_path)
    assert failed == {("denoising", 0): "exit code 3: no space", ("pretrained", 0): "left out, because denoising failed"}
    assert len(measurements.lines("table")) == 4
    assert measurements.failures("table", PAPER, str(tmp_path / "runs")) == failed
    calls.failing = set()
    assert measure(tmp_path) == {}
    assert len(measurements.lines("table")) == 6
    assert measurements.failures("table", PAPER, str(tmp_path / "runs")) == {}


def test_what_another_process_is_at_is_left_to_it(calls, tmp_path):
    """The lock is taken by a process that is killed later: then the row is free again."""
    place = measurements.workdir(str(tmp_path / "runs"), "table", "denoising", 0)
    code = f"from experiments import commands\nwith commands.held({place + '.lock'!r}): print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        left = measure(tmp_path)
        assert {which: error.partition(";")[0] for which, error in left.items()} == {
            ("denoising", 0): "another process is at it",
            ("pretrained", 0): "another process is at it",
        }
        assert not any(place in part for command in calls.commands for part in command)
        other.kill()
    assert measurements.failures("table", PAPER, str(tmp_path / "runs")) == {}
    assert measure(tmp_path) == {}
    assert len(measurements.lines("table")) == 6


def test_what_another_process_has_measured_meanwhile_is_not_run_again(calls, tmp_path, monkeypatch):
    measure(tmp_path)
    before = len(calls.commands)
    monkeypatch.setattr(measurements, "missing", lambda table, paper: [(row, 1) for row in PAPER.ROWS])
    assert measure(tmp_path) == {}
    assert len(calls.commands) == before
    assert len(measurements.lines("table")) == 6


def test_a_row_that_evaluates_scores_the_run_it_names_and_trains_nothing(calls, tmp_path, monkeypatch):
    once_more = Row("otherwise", "evaluate", "segment", init="scratch", best=True, batch_statistics=True)
    monkeypatch.setattr(PAPER, "ROWS", (PAPER.ROWS[1], once_more))
    monkeypatch.setattr(PAPER, "SEEDS", 1)
    assert measure(tmp_path) == {}
    scratch = os.path.join(str(tmp_path), "runs", "table", "scratch-0")
    trained, scored, again = [command[2:] for command in calls.commands]
    assert trained[0] == "experiments.segment"
    assert scored == ["experiments.evaluate", f"--workdir={scratch}", "--split=test"]
    assert again == ["experiments.evaluate", f"--workdir={scratch}", "--split=test", "--best", "--batch_statistics"]
    assert sorted(os.listdir(tmp_path / "runs" / "table")) == ["scratch-0", "scratch-0.lock"]
    first, second = measurements.lines("table")
    assert (second["row"], second["config"]) == ("otherwise", measurements.config_key(once_more))
    assert second["seconds"] == pytest.approx(first["seconds"], abs=0.1), "those of the run that is scored"


def test_a_row_has_a_place_of_its_own():
    names = ("scratch, 1/16", "SparK, 1/16", "spark", "rate 0.0005", "rate 0.002", "pretrain:spark")
    places = [measurements.workdir("runs", "table", name, 3) for name in names]
    assert places[0] == os.path.join("runs", "table", "scratch-1-16-3")
    assert len({place.lower() for place in places}) == len(names)


def test_where_a_workdir_is_gone_it_is_trained_again_for_those_that_start_from_it(calls, tmp_path):
    calls.failing = {"pretrained-1"}
    measure(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    calls.failing, calls.commands[:] = set(), []
    assert measure(tmp_path) == {}
    trained = [flag for command in calls.commands for flag in command if flag.startswith("--workdir=")]
    assert [os.path.basename(flag) for flag in trained] == ["denoising-1", "pretrained-1", "pretrained-1"]  # the last one scores
    assert len(measurements.lines("table")) == 6


def test_another_version_of_the_code_trains_and_measures_every_row_anew(calls, tmp_path, monkeypatch):
    measure(tmp_path)
    before = {(line["row"], line["seed"]) for line in measurements.current("table", PAPER)}
    monkeypatch.setattr(measurements, "CODE", 2)
    assert measurements.current("table", PAPER) == []
    calls.commands.clear()
    assert measure(tmp_path) == {}
    assert len(calls.commands) == 12
    assert {(line["row"], line["seed"]) for line in measurements.current("table", PAPER)} == before
    assert len(os.listdir(tmp_path / "runs" / "table")) == 24, "a workdir and a lock each: those of the first version are not gone on with"
    assert len(measurements.missing("table", PAPER)) == 0
    monkeypatch.setattr(measurements, "CODE", 1)
    assert len(measurements.missing("table", PAPER)) == 0


def test_a_changed_config_is_measured_anew():
    row = PAPER.ROWS[1]
    assert measurements.config_key(row) == measurements.config_key(Row(*row))
    assert measurements.config_key(row) != measurements.config_key(row._replace(overrides={"freeze": "none"}))
    assert measurements.config_key(row) != measurements.config_key(row._replace(config="drive"))
    keys = [measurements.config_key(row._replace(**how)) for how in ({}, *({name: True} for name in measurements.SCORED))]
    assert len(set(keys)) == 1 + len(measurements.SCORED) == 4


def test_provenance_is_printed_by_a_process_of_its_own():
    """So that the process that starts the runs never takes a GPU's memory from them."""
    done = subprocess.run([sys.executable, "-m", "experiments.provenance"], capture_output=True, text=True, check=True)
    assert {"device", "commit", "versions"} <= json.loads(done.stdout).keys()
