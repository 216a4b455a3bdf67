import json

import pytest

from aeseg.runs.data import Data
from experiments import pretrain, probe
from experiments.console import cli
from tests.experiments.bad_input_test import PRETRAIN, assert_says

SMALL = [f"--config.data.{split}.{field}=16" for split in ("train", "validation", "test") for field in ("height", "width")]
SMALL += [f"--config.data.{split}.records=8" for split in ("train", "validation", "test")]
FLAGS = ("--config=segment:linear", "--config.window=(16,16)", "--config.batch_size=8", "--config.data.fraction=1.0", *SMALL)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The workdir of a tiny pretraining run."""
    workdir = tmp_path_factory.mktemp("pretrained") / "run"
    assert cli.guarded(pretrain.run, ["program", *PRETRAIN, f"--workdir={workdir}"]) == 0
    return workdir


def entries(workdir):
    return {name: entry for name, entry in json.loads((workdir / "probe.json").read_text()).items() if name != "evaluations"}


def probed(*flags):
    assert cli.guarded(probe.run, ["program", *FLAGS, *flags]) == 0


def test_each_probe_reads_a_pretrained_encoder_and_writes_its_numbers_into_the_workdir(pretrained, capsys):
    probed(f"--init={pretrained}", "--kind=knn", "--split=validation", "--stride=2")
    probed(f"--init={pretrained}", "--kind=logistic", "--patches=20")
    assert "Kept 20 of 128 labelled patches (--patches=20)." in capsys.readouterr().out
    probed(f"--init={pretrained}", "--kind=linear", "--steps=2", "--stride=2")
    found = entries(pretrained)
    assert set(found) == {"knn validation", "logistic test", "linear test"}
    assert (found["logistic test"]["patches"], found["logistic test"]["stride"]) == (20, 4)
    assert found["linear test"]["steps"] == 2
    for entry in found.values():
        assert entry["images"] == 8
        assert {"mean_iou", "init", "config", "seed", "device", "commit", "versions", "seconds"} <= set(entry)


def test_patches_of_a_random_encoder_are_their_own_nearest_neighbours(tmp_path):
    probed(f"--workdir={tmp_path / 'fresh'}", "--split=train", "--stride=1", "--neighbours=1")
    found = entries(tmp_path / "fresh")["knn train"]
    assert found["init"] == ""
    assert found["patches"] == found["patches_offered"] == 8 * 16 * 16
    assert found["pixel_accuracy"] > 0.95


def test_a_split_with_another_number_of_classes_is_refused(tmp_path, monkeypatch, capsys):
    whole = Data.scored
    monkeypatch.setattr(Data, "scored", lambda data, split: whole(data, split) if split != "test" else Stripes())
    assert cli.guarded(probe.run, ["program", *FLAGS, f"--workdir={tmp_path / 'run'}"]) == 2
    assert_says(capsys.readouterr().err, "Expected 8 classes, as in the config; the data have 2. Set --config.method.classes")


class Stripes:
    """Other labels."""

    classes = (("left", (0, 0, 0)), ("right", (255, 255, 255)))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--kind=svm",), "The probes are knn, logistic, linear; got 'svm'. Set --kind"),
        (("--split=half",), "The splits are train, validation, test; got 'half'"),
        (("--stride=3",), r"The probe reads stride 3; the encoder gives \[1, 2, 4, 8\]"),
        (("--patches=0",), "at least 1 patch; got 0"),
        (("--neighbours=0",), "neighbours >= 1"),
        (("--kind=logistic", "--strength=0"), "strength > 0"),
        (("--init=nowhere",), "Expected a run in 'nowhere'"),
        (("--config.method.classes=3",), "The model has 3 classes; the training data have 8"),
    ],
)
def test_invalid_probes_are_refused(flags, says, tmp_path, capsys):
    assert cli.guarded(probe.run, ["program", *FLAGS, f"--workdir={tmp_path / 'run'}", *flags]) == 2
    assert_says(capsys.readouterr().err, says)
    assert not (tmp_path / "run").exists()
