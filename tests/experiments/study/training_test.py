"""experiments/study/training.py: each row runs once, after the row it starts from; a failure stops only rows that need it."""

import json
import os
import shutil
import subprocess
import sys
import threading
import types

import pytest
from ml_collections import ConfigDict

from aeseg import spec
from aeseg.types import UserError
from experiments.machine import commands
from experiments.papers import Row
from experiments.recorded import descriptions, measurements
from experiments.study import training
from tests.experiments import two_copies

PAPER = types.SimpleNamespace(
    SEEDS=2,
    SPLIT="test",
    ROWS=(
        Row("denoising", "pretrain", "pretrain"),
        Row("scratch", "segment", "segment", {"transfer": "scratch"}),
        Row("pretrained", "segment", "segment", init="denoising", compare="scratch"),
    ),
)


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Record commands without training; commands of rows and seeds in `failing` fail, in `cut` they stop early."""
    seen = types.SimpleNamespace(commands=[], shares=[], failing=set(), cut=set(), commit="abc", most=0)
    turn, running = threading.Lock(), []

    def call(command, share, log="", capture=False, lock=None):
        if capture:
            return json.dumps({"device": "none", "commit": seen.commit})
        place = next(flag.split("=", 1)[1] for flag in command if flag.startswith("--workdir="))
        with turn:
            seen.commands.append(command)
            seen.shares.append(share)
            running.append(place)
            seen.most = max(seen.most, len(running))
        if os.path.basename(place)[:-13] in seen.failing:
            running.remove(place)
            raise UserError("exit code 3: no space")
        for flag in command:
            if flag.startswith("--init="):
                assert os.path.isdir(flag.split("=", 1)[1]), "it was started before its predecessor"
        if command[2] != "experiments.evaluate" and os.path.basename(place)[:-13] not in seen.cut:
            os.makedirs(os.path.join(place, "checkpoints", "5"), exist_ok=True)
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, "config.json"), "w", encoding="utf-8") as file:
            file.write(spec.to_json(ConfigDict({"method": {}, "steps": 5})))
        with open(os.path.join(place, "metrics.json"), "w", encoding="utf-8") as file:
            per_class = [{"name": "disc", "iou": 0.25, "dice": 0.4}]
            json.dump({"test": {"mean_iou": 0.5, "per_class": per_class, "confusion": [[1]]}}, file)
        running.remove(place)
        return ""

    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(commands, "call", call)
    return seen


def measure(tmp_path, jobs=1):
    return training.measure_missing("table", PAPER, str(tmp_path / "runs"), {}, jobs)


def test_rows_run_in_the_order_of_their_tiers_each_after_its_start():
    tiers = ((("pretrained", "of another scale"), 1), (("scratch",), 1))
    paper = types.SimpleNamespace(**vars(PAPER), TIERS=tiers)
    first = [("denoising", 0), ("pretrained", 0), ("scratch", 0)]
    after = [("denoising", 1), ("scratch", 1), ("pretrained", 1)]
    assert [(row.name, seed) for row, seed in training.missing("no results", paper)] == [*first, *after]
    assert [row.name for row, _ in training.missing("no results", PAPER)] == 2 * [row.name for row in PAPER.ROWS]


def test_minutes_end_a_row_without_an_error_and_begin_no_other(calls, tmp_path, monkeypatch):
    call, trained = commands.call, []

    def slow(command, share, *rest, **how):
        if command[2] == "experiments.segment":
            trained.append(command)
            raise commands.Late(commands.OVER)  # what `call` does with a process that it ends
        return call(command, share, *rest, **how)

    monkeypatch.setattr(commands, "call", slow)
    deadline = commands.deadline(1)
    monkeypatch.setattr(commands.time, "monotonic", lambda: deadline if trained else 0.0)
    assert training.measure_missing("table", PAPER, str(tmp_path / "runs"), {}, deadline=deadline) == {}
    assert len(trained) == 1
    assert training.failures("table", PAPER, str(tmp_path / "runs")) == {}
    monkeypatch.undo()


def test_iou_by_light_and_without_modalities_has_a_name_of_its_own():
    light = {"dark": {"mean_iou": 0.2, "iou": {"disc": 0.3}}}
    every = {"present": ["image", "depth"], "missing": [], "mean_iou": 0.5, "iou": {"disc": 0.25}, "light": light}
    without = {**every, "present": ["image"], "missing": ["depth"], "mean_iou": 0.4, "iou": {"disc": 0.1}}
    scores = {"per_class": [{"name": "disc", "iou": 0.25, "dice": 0.4}], "light": light, "subsets": [every, without]}
    assert training.numbers(scores) == {
        "iou_disc": 0.25,
        "dice_disc": 0.4,
        "iou_disc_dark": 0.3,
        "iou_disc_without_depth": 0.1,
        "iou_disc_dark_without_depth": 0.3,
        "mean_iou_dark": 0.2,
        "mean_iou_without_depth": 0.4,
        "mean_iou_dark_without_depth": 0.2,
    }


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
    assert training.failures("table", PAPER, str(tmp_path / "runs")) == failed
    calls.failing = set()
    assert measure(tmp_path) == {}
    assert len(measurements.lines("table")) == 6
    assert training.failures("table", PAPER, str(tmp_path / "runs")) == {}


def test_the_error_of_a_changed_row_is_not_reported(calls, tmp_path, monkeypatch):
    calls.failing = {"scratch-0"}
    measure(tmp_path)
    assert list(training.failures("table", PAPER, str(tmp_path / "runs"))) == [("scratch", 0)]
    changed(monkeypatch, "scratch", overrides={"transfer": "none"})
    assert training.failures("table", PAPER, str(tmp_path / "runs")) == {}


def test_rows_that_another_process_runs_are_left_to_it(calls, tmp_path):
    """Another process takes the lock and is killed later; then the row is free again."""
    place = training.workdir(str(tmp_path / "runs"), "table", PAPER.ROWS, "denoising", 0)
    code = f"from experiments.machine import commands\nwith commands.held({place + '.lock'!r}): print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        left = measure(tmp_path)
        assert {which: error.partition(";")[0] for which, error in left.items()} == {
            ("denoising", 0): "another process is running this",
            ("pretrained", 0): "another process is running this",
        }
        assert not any(place in part for command in calls.commands for part in command)
        other.kill()
    assert training.failures("table", PAPER, str(tmp_path / "runs")) == {}
    assert measure(tmp_path) == {}
    assert len(measurements.lines("table")) == 6


def test_copies_measure_each_row_once_and_wait_for_what_a_row_starts_from(calls, tmp_path, monkeypatch):
    run, failed, both, begun = commands.call, [], threading.Barrier(2), set()

    def call(command, *rest, **more):
        if threading.get_ident() not in begun:
            begun.add(threading.get_ident())
            both.wait(timeout=60)  # each copy is in a row of its own, or nothing is shared
        return run(command, *rest, **more)

    def copy():
        failed.append(training.measure_missing("table", PAPER, str(tmp_path / "runs"), {}, shared=True))

    calls.failing = {"scratch-1"}
    two_copies.run(monkeypatch, copy, call)
    assert failed == [{("scratch", 1): "exit code 3: no space"}] * 2
    assert len(measurements.lines("table")) == 5
    trained = [command for command in calls.commands if command[2] != "experiments.evaluate"]
    assert len(trained) == 6, "a row that failed in one copy is not tried by the other"


def test_rows_that_another_process_measured_meanwhile_are_not_run_again(calls, tmp_path, monkeypatch):
    measure(tmp_path)
    before = len(calls.commands)
    monkeypatch.setattr(training, "missing", lambda table, paper: [(row, 1) for row in PAPER.ROWS])
    assert measure(tmp_path) == {}
    assert len(calls.commands) == before
    assert len(measurements.lines("table")) == 6


def test_a_row_that_evaluates_scores_the_run_it_names_and_trains_nothing(calls, tmp_path, monkeypatch):
    once_more = Row("otherwise", "evaluate", "segment", init="scratch", best=True, batch_statistics=True)
    monkeypatch.setattr(PAPER, "ROWS", (PAPER.ROWS[1], once_more))
    monkeypatch.setattr(PAPER, "SEEDS", 1)
    assert measure(tmp_path) == {}
    scratch = training.workdir(str(tmp_path / "runs"), "table", PAPER.ROWS, "scratch", 0)
    trained, scored, again = [command[2:] for command in calls.commands]
    assert trained[0] == "experiments.segment"
    assert scored == ["experiments.evaluate", f"--workdir={scratch}", "--split=test"]
    assert again == ["experiments.evaluate", f"--workdir={scratch}", "--split=test", "--best", "--batch_statistics"]
    assert sorted(os.listdir(tmp_path / "runs" / "table")) == [os.path.basename(scratch), os.path.basename(scratch) + ".lock"]
    first, second = measurements.lines("table")
    assert (second["row"], second["config"]) == ("otherwise", *measurements.matching("table", PAPER.ROWS)["otherwise"])
    assert second["seconds"] == pytest.approx(first["seconds"], abs=0.1), "the seconds of the scored run"


def test_each_row_has_its_own_path():
    names = ("scratch, 1/16", "SparK, 1/16", "spark", "rate 0.0005", "rate 0.002", "pretrain:spark")
    places = [training.path_prefix("runs", "table", name, 3) for name in names]
    assert places[0] == os.path.join("runs", "table", "scratch-1-16-3")
    assert len({place.lower() for place in places}) == len(names)


def test_a_missing_workdir_is_trained_again_for_the_rows_that_start_from_it(calls, tmp_path):
    calls.failing = {"pretrained-1"}
    measure(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    calls.failing, calls.commands[:] = set(), []
    assert measure(tmp_path) == {}
    trained = [flag for command in calls.commands for flag in command if flag.startswith("--workdir=")]
    assert [os.path.basename(flag)[:-13] for flag in trained] == ["denoising-1", "pretrained-1", "pretrained-1"]  # the last one scores
    assert len(measurements.lines("table")) == 6


def changed(monkeypatch, name, **fields):
    """Replace a row of the paper."""
    monkeypatch.setattr(PAPER, "ROWS", tuple(row._replace(**fields) if row.name == name else row for row in PAPER.ROWS))


def test_another_revision_trains_and_measures_every_row_again(calls, tmp_path, monkeypatch):
    measure(tmp_path)
    monkeypatch.setattr(descriptions, "CODE", 2)
    assert measurements.current("table", PAPER) == []
    calls.commands.clear()
    assert measure(tmp_path) == {}
    assert len(calls.commands) == 12
    assert len(measurements.current("table", PAPER)) == 6
    assert len(os.listdir(tmp_path / "runs" / "table")) == 24, "each has a workdir and a lock; the files of the first version are unchanged"
    monkeypatch.setattr(descriptions, "CODE", 1)
    assert training.missing("table", PAPER) == []


def test_a_changed_row_and_the_rows_that_start_from_it_are_measured_again(calls, tmp_path, monkeypatch):
    measure(tmp_path)
    changed(monkeypatch, "denoising", overrides={"steps": 7})
    assert {row.name for row, _ in training.missing("table", PAPER)} == {"denoising", "pretrained"}
    calls.commands.clear()
    assert measure(tmp_path) == {}
    assert len(calls.commands) == 8
    assert training.missing("table", PAPER) == []
    changed(monkeypatch, "denoising", overrides={})
    assert training.missing("table", PAPER) == [], "the earlier lines are kept"


def test_rows_that_run_something_else_mean_something_else():
    row = PAPER.ROWS[1]

    def key(**fields):
        return descriptions.meaning(descriptions.described([row._replace(**fields)])[row.name])

    others = [key(), key(overrides={"transfer": "none"}), key(config="drive"), *(key(**{name: True}) for name in descriptions.SCORED)]
    others.append(key(revision=1))
    assert key() == key()
    assert len(set(others)) == len(others)


def test_a_row_with_other_scoring_is_scored_again_and_not_trained(calls, tmp_path, monkeypatch):
    measure(tmp_path)
    changed(monkeypatch, "scratch", best=True)
    calls.commands.clear()
    assert measure(tmp_path) == {}
    assert [command[2] for command in calls.commands] == ["experiments.evaluate"] * 2
    assert all(command[-1] == "--best" for command in calls.commands)


def test_lines_of_another_split_are_not_current(calls, tmp_path, monkeypatch):
    measure(tmp_path)
    monkeypatch.setattr(PAPER, "SPLIT", "validation")
    assert len(training.missing("table", PAPER)) == 6


def test_a_run_that_was_stopped_before_its_last_step_is_not_scored(calls, tmp_path):
    calls.cut = {"denoising-0"}
    failed = measure(tmp_path)
    assert failed["denoising", 0] == "it was stopped before its last step; the same command continues from there"
    assert failed["pretrained", 0].startswith("left out")
    assert ("denoising", 0) not in {(line["row"], line["seed"]) for line in measurements.lines("table")}
    calls.cut = set()
    assert measure(tmp_path) == {}


def test_all_unfinished_predecessors_of_a_row_are_trained_to_their_end(calls, tmp_path, monkeypatch):
    """In a chain of three rows, only the last is not measured, and the first was interrupted."""
    third = Row("third", "segment", "segment", init="pretrained")
    measure(tmp_path)
    monkeypatch.setattr(PAPER, "ROWS", (*PAPER.ROWS, third))
    shutil.rmtree(tmp_path / "runs")
    calls.cut = {"denoising-0", "denoising-1"}
    assert {name for name, _ in measure(tmp_path)} == {"denoising", "pretrained", "third"}
    calls.cut, calls.commands[:] = set(), []
    assert measure(tmp_path) == {}
    trained = [os.path.basename(flag)[:-13] for command in calls.commands for flag in command if flag.startswith("--workdir=")]
    assert trained[:4] == ["denoising-0", "pretrained-0", "third-0", "third-0"], "third is trained and scored"
    assert len(measurements.lines("table")) == 8


def test_a_run_that_is_gone_is_trained_again_just_before_the_row_that_needs_it(calls, tmp_path, monkeypatch):
    """Measured rows whose workdirs are gone do not delay the first missing row, which a tier names."""
    measure(tmp_path)
    monkeypatch.setattr(
        PAPER, "ROWS", (*PAPER.ROWS, Row("third", "segment", "segment", init="pretrained"), Row("fourth", "segment", "segment"))
    )
    monkeypatch.setattr(PAPER, "TIERS", ((("fourth",), 2), (("third",), 2)), raising=False)
    shutil.rmtree(tmp_path / "runs")
    order = [(row.name, seed) for row, seed in training.wanted("table", PAPER, str(tmp_path / "runs"))]
    again = [(name, seed) for seed in (0, 1) for name in ("denoising", "pretrained", "third")]
    assert order == [("fourth", 0), ("fourth", 1), *again]


def test_a_finished_run_that_is_scored_again_keeps_its_seconds_and_its_commit(calls, tmp_path, monkeypatch):
    measure(tmp_path)
    before = measurements.lines("table")
    os.remove(os.path.join(measurements.RESULTS, "table.jsonl"))
    calls.commit, calls.commands[:] = "def", []
    assert measure(tmp_path) == {}
    assert {command[2] for command in calls.commands} == {"experiments.evaluate"}
    assert measurements.lines("table") == [{**line, "scored": "def"} for line in before]


def test_a_run_that_outlives_its_table_has_the_commit_of_its_start(calls, tmp_path, monkeypatch):
    """The table's process is killed during training; the run continues to its last step, and a later commit scores it."""
    calls.cut = {"scratch-0"}
    measure(tmp_path)
    trained = training.workdir(str(tmp_path / "runs"), "table", PAPER.ROWS, "scratch", 0)
    os.makedirs(os.path.join(trained, "checkpoints", "5"))
    calls.commit = "def"
    assert measure(tmp_path) == {}
    last = measurements.lines("table")[-1]
    assert (last["row"], last["seed"], last["commit"], last["scored"]) == ("scratch", 0, "abc", "def")


def test_a_bug_is_reported_and_the_other_rows_continue(calls, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "scoring", lambda row: [][0] if row.name == "scratch" else [])
    failed = measure(tmp_path)
    assert failed == {("scratch", seed): "IndexError: list index out of range" for seed in (0, 1)}
    assert len(measurements.lines("table")) == 4
    assert "Traceback" in capsys.readouterr().err


def test_a_separate_process_prints_the_provenance():
    """The process that starts the runs must not use a GPU's memory."""
    done = subprocess.run([sys.executable, "-m", "experiments.machine.provenance"], capture_output=True, text=True, check=True)
    assert {"device", "commit", "versions"} <= json.loads(done.stdout).keys()


def test_a_row_has_as_many_seeds_as_it_says(calls, tmp_path, monkeypatch):
    rows = [row._replace(seeds=1) if row.name == "pretrained" else row for row in PAPER.ROWS]
    monkeypatch.setattr(PAPER, "ROWS", tuple(rows))
    assert measure(tmp_path) == {}
    measured = [line["row"] for line in measurements.lines("table")]
    assert {name: measured.count(name) for name in measured} == {"denoising": 2, "scratch": 2, "pretrained": 1}
    monkeypatch.setattr(PAPER, "ROWS", tuple(row._replace(seeds=3) if row.name == "scratch" else row for row in rows))
    assert [(row.name, seed) for row, seed in training.missing("table", PAPER)] == [("scratch", 2)]


def test_a_line_keeps_the_validation_curve_that_its_table_asks_for(calls, tmp_path, monkeypatch):
    monkeypatch.setattr(PAPER, "CURVES", {"denoising": "loss"}, raising=False)
    monkeypatch.setattr(training, "curve", lambda workdir, metric: [(5, metric, os.path.isdir(workdir))])
    assert measure(tmp_path) == {}
    assert {line["row"]: line.get("curve") for line in measurements.lines("table")} == {
        "denoising": [[5, "loss", True]],
        "scratch": None,
        "pretrained": None,
    }


def test_a_curve_is_what_the_run_logged_of_its_validation(tmp_path):
    rows = [
        {"step": 1, "train/loss": 0.9},
        {"step": 5, "validation/loss": 0.7, "validation/psnr": 20.0},
        {"step": 9, "validation/loss": 0.6},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert training.curve(str(tmp_path), "loss") == [(5, 0.7), (9, 0.6)]
