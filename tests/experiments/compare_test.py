"""experiments/compare.py: a comparison finds a known order, resumes, and writes the documented files."""

import contextlib
import csv
import json
import types

import numpy as np
import pytest

from aeseg import tree
from aeseg.training.optimiser import adamw
from experiments import compare
from experiments.comparison import settings, tasks
from experiments.console import cli
from experiments.machine import commands, copies
from tests.experiments import squares
from tests.imports_test import ROOT

FLAGS = ("--arms=denoising,tiny", "--labels=1,all", "--seeds=2", "--trials=3", "--steps=80", "--window=32", "--batch=4", "--longer=False")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """20 photographs of dark ground with red, green or blue squares, and masks of these: one image does not show all colours."""
    return squares.write(tmp_path_factory.mktemp("own") / "my_images", 20, 100, coloured=True)


@pytest.fixture(scope="module")
def compared(own, tmp_path_factory):
    """The folder of a comparison with a broken pretraining: weight decay leaves nothing of its kernels, and its units are dead."""
    output, patch = tmp_path_factory.mktemp("compared"), pytest.MonkeyPatch()
    sound = settings.pretraining

    def broken(*arguments):
        config = sound(*arguments)
        config.optimiser = settings.spec.spec(adamw, learning_rate=1e-3, steps=arguments[-1], weight_decay=900.0, schedule="constant")
        return config

    def dead(*arguments):
        start = weights(*arguments)

        def init(state):
            state, said = start(state)
            encoder = tree.map_with_name(lambda name, leaf: leaf - 1e3 if name.endswith("bias") else leaf, state.params["encoder"])
            return state.replace(params={**state.params, "encoder": encoder}), said

        return init

    weights = tasks.init.weights
    patch.setattr(tasks.init, "weights", dead)
    patch.setattr(settings, "pretraining", broken)
    assert cli.guarded(compare.run, ["compare", f"--data={own}", f"--output={output}", "--minutes=30", *FLAGS]) == 0
    patch.undo()
    return output


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def miou(found, arm, labels):
    return np.mean([line["metrics"]["miou"] for line in found if line["arm"].startswith(arm) and line["labels"] == labels])


def test_more_labels_gain_and_a_broken_method_loses(compared):
    found, most = lines(compared / "results.jsonl"), json.loads((compared / "plan.json").read_text())["plan"]["labels"][-1]
    assert len(found) == 8
    assert miou(found, "scratch", most) > miou(found, "scratch", 1)
    for labels in (1, most):
        assert miou(found, "denoising", labels) < miou(found, "scratch", labels)


def test_a_pretraining_that_breaks_is_named(compared):
    [text] = json.loads((compared / "verdict.json").read_text())["warnings"]
    assert text.startswith(("denoising, convnet: collapsed", "denoising, convnet: unlearns"))


def test_all_arms_have_the_same_labelled_images_and_steps(compared):
    configs = {}
    for line in lines(compared / "results.jsonl"):
        config = json.loads((compared / line["workdir"] / "config.json").read_text())
        configs.setdefault((line["labels"], line["seed"]), []).append(config)
    for scratch, pretrained in configs.values():
        changed = {"transfer", "optimiser"}
        assert {name: value for name, value in scratch.items() if name not in changed} == {
            name: value for name, value in pretrained.items() if name not in changed
        }
        assert {scratch["transfer"], pretrained["transfer"]} == {"scratch", "fine-tune"}


def test_no_pretraining_reads_a_label_or_an_image_of_another_split(compared):
    config = json.loads((compared / "arms/denoising-convnet/pretraining/config.json").read_text())
    assert config["data"]["source"]["images_only"]
    names = {split: set((compared / "inspection" / f"{split}.txt").read_text().split()) for split in ("train", "validation", "test")}
    assert config["data"]["train"]["list_file"].endswith("train.txt")
    assert not names["train"] & (names["validation"] | names["test"])


def test_the_same_command_continues_and_trains_nothing_again(own, compared, capsys):
    before = (compared / "results.jsonl").read_text()
    assert cli.guarded(compare.run, ["compare", f"--data={own}", f"--output={compared}", "--minutes=1", *FLAGS]) == 0
    assert (compared / "results.jsonl").read_text() == before
    assert "predict" in capsys.readouterr().out


def test_copies_share_a_comparison_and_wait_for_what_another_is_at(own, compared, monkeypatch, capsys):
    before = (compared / "results.jsonl").read_text()
    lost = before.splitlines()[-1]
    (compared / "results.jsonl").write_text(before.removesuffix(lost + "\n"))
    path, waits = str(compared / f"{json.loads(lost)['workdir']}.lock"), []

    def measured(seconds):
        waits.append(seconds)
        with open(compared / "results.jsonl", "a", encoding="utf-8") as file:
            file.write(lost + "\n")
        other.close()

    other = contextlib.ExitStack()
    other.enter_context(commands.held(path))  # stands for the copy that scores the run
    monkeypatch.setattr(copies, "time", types.SimpleNamespace(sleep=measured))
    assert cli.guarded(compare.run, ["compare", f"--data={own}", f"--output={compared}", "--minutes=1", "--copies=2", *FLAGS]) == 0
    assert waits == [commands.PAUSE]
    assert (compared / "results.jsonl").read_text() == before
    with commands.held(str(compared / "lock"), shared=True):
        assert cli.guarded(compare.run, ["compare", f"--data={own}", f"--output={compared}", *FLAGS]) == 2
    assert "another process is running this" in capsys.readouterr().err


def test_other_settings_in_the_same_folder_are_refused(own, compared, capsys):
    assert cli.guarded(compare.run, ["compare", f"--data={own}", f"--output={compared}", *FLAGS, "--steps=60"]) == 2
    assert "steps: 80 -> 60\nSet another --output." in capsys.readouterr().err


def test_the_files_are_as_documented(compared):
    found, verdict = lines(compared / "results.jsonl"), json.loads((compared / "verdict.json").read_text())
    with open(compared / "results.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["miou"]) for row in rows] == pytest.approx([line["metrics"]["miou"] for line in found], abs=1e-6)
    assert {"iou_background", "iou_foreground"} <= rows[0].keys()
    for name in ("table.md", "table.tex", "plot.png", "pictures/worst.png", "winner.json", "data.json"):
        assert (compared / name).stat().st_size > 100, name
    workdir = compared / verdict["winner"]["workdir"]
    assert (workdir / "checkpoints").exists(), "the winner predicts"
    assert json.loads((compared / "winner.json").read_text())["transfer"] == "continue"
    text = (ROOT / "experiments/comparison/__init__.py").read_text()
    documented = {name for name in (*found[0], *verdict) if f'"{name}"' in text or f"`{name}`" in text}
    assert documented == {*found[0], *verdict}


@pytest.mark.parametrize(("flag", "message"), [
    ("--labels=1,some", "Expected numbers of labelled images and all"),
    ("--window=33", "The nearest is 32"),
    ("--arms=unet", "'unet' is a head"),
    ("--trials=99", "1 to 6 trials"),
    ("--minutes=0", "Expected minutes > 0"),
])  # fmt: skip
def test_an_unusable_flag_is_refused_before_training(own, tmp_path, capsys, flag, message):
    assert cli.guarded(compare.run, ["compare", f"--data={own}", f"--output={tmp_path}", *FLAGS, flag]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "arms").exists()
