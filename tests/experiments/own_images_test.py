"""From a folder of images to predictions: every command in README.md's section on your own images, on small images."""

import importlib
import json
import shlex

import cv2
import numpy as np
import pytest

from aeseg import spec
from aeseg.runs.data import split_config
from experiments import evaluate, inspect, segment
from experiments.console import cli
from tests.experiments import squares
from tests.imports_test import ROOT

SMALL = ("--config.window=(32,32)", "--config.steps=60", "--config.batch_size=8", "--config.evaluate_every=60")
NETWORK = ("--config.method.encoder.widths=(8,16)", "--config.method.encoder.bottleneck=16")
SMALLER = {
    "compare": (
        "--arms=denoising,tiny",
        "--labels=all",
        "--seeds=1",
        "--trials=1",
        "--steps=30",
        "--window=32",
        "--batch=8",
        "--longer=False",
    ),
    "pretrain": (*SMALL, *NETWORK, "--config.method.decoder.widths=(16,8)"),
    "segment": (*SMALL, "--config.optimiser.learning_rate=5e-3"),
}
"""Further flags of a command of README.md, for a small network."""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """24 photographs of dark ground with bright squares, each with a mask of 0 and 255."""
    return squares.write(tmp_path_factory.mktemp("own") / "my_images", 24, 60)


@pytest.fixture(scope="module")
def described(own, tmp_path_factory):
    """What `inspect` writes of the folder."""
    output = tmp_path_factory.mktemp("inspections")
    assert cli.guarded(inspect.run, ["inspect", str(own), f"--output={output}"]) == 0
    return output / "data.json"


def test_masks_of_0_and_255_are_described_as_background_and_foreground(described):
    description = json.loads(described.read_text())
    assert description["source"]["ignore_ids"] == []
    assert (described.parent / "contact.png").stat().st_size > 1000


def test_every_line_of_the_readme_s_section_runs_as_it_stands(own, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_images").symlink_to(own)
    (tmp_path / "photos").symlink_to(own / "images")
    section = (ROOT / "README.md").read_text().partition("## Your own images")[2].partition("\n## ")[0]
    lines = [shlex.split(line, comments=True) for line in section.splitlines() if line.startswith("    ./launch.sh ")]
    assert [words[1] for words in lines] == ["inspect", "compare", "pretrain", "segment", "evaluate", "predict", "report"]
    said = {}
    for _, command, *flags in lines:
        program = importlib.import_module(f"experiments.{command}")
        assert cli.guarded(program.run, [command, *flags, *SMALLER.get(command, ())]) == 0, command
        said[command] = capsys.readouterr().out
    pretraining = json.loads((tmp_path / "runs/folder/config.json").read_text())
    assert len(pretraining["method"]["encoder"]["mean"]) == 3, "mean and std are the images' own, by channel"
    assert pretraining["data"]["source"]["images_only"]
    assert shlex.join(lines[3][1:]) in said["pretrain"], "it prints the next line, with the data"
    assert "train: " in said["segment"], "the classes' shares are printed before the first step"
    assert json.loads((tmp_path / "comparisons/my_images/verdict.json").read_text())["headline"] in said["compare"]
    scores = json.loads((tmp_path / "runs/folder-unet/metrics.json").read_text())
    assert scores["test"]["mean_iou"] > 0.6, "white is foreground, and bright squares are learned in 60 steps"
    assert len(list((tmp_path / "predictions/labels").glob("*.png"))) == 24
    assert "<html" in (tmp_path / "report.html").read_text()
    evaluate_again(tmp_path / "runs/folder-unet")


def evaluate_again(workdir):
    """Evaluate with a flip, too: metrics.json keeps both evaluations."""
    assert cli.guarded(evaluate.run, ["evaluate", f"--workdir={workdir}", "--flip"]) == 0
    evaluations = json.loads((workdir / "metrics.json").read_text())["evaluations"]
    assert [taken["views"]["flip"] for taken in evaluations] == [False, True]


def test_the_splits_share_no_image_and_pretraining_sees_no_test_image(described, own):
    description = json.loads(described.read_text())
    names = {split: set((described.parent / f"{split}.txt").read_text().split("\n")) - {""} for split in ("train", "validation", "test")}
    assert sum(map(len, names.values())) == 24
    assert len(set.union(*names.values())) == 24
    assert description["train"]["list_file"] != description["test"]["list_file"]


def test_the_meaning_of_labels_cannot_be_set_for_one_split(own, tmp_path, capsys):
    flags = [f"--config.data.root={own}", "--config.data.train.binary_threshold=128", *SMALL, f"--workdir={tmp_path / 'run'}"]
    assert cli.guarded(segment.run, ["segment", "--config=folder:unet", *flags]) == 2
    assert "Set --config.data.source.binary_threshold." in capsys.readouterr().err


@pytest.mark.parametrize("config", ["folder:denoising", "folder:unet"])
def test_mean_and_std_are_the_images_own_also_without_a_description(own, config):
    flags = cli.parse(["train", f"--config={config}", f"--config.data.root={own}"], "", config="pretrain")
    encoder = flags.config.method.encoder
    train = spec.build(split_config(spec.plain(flags.config.data), "train"))
    pixels = np.concatenate([train[index]["image"].reshape(-1, 3) for index in range(len(train))]) / 255
    np.testing.assert_allclose(encoder.mean, pixels.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(encoder.std, pixels.std(axis=0), atol=1e-4)
    assert encoder.mean[0] < 0.3, "the squares are bright and the ground is dark"


def test_values_of_the_command_line_are_kept(own):
    words = ["--config.method.encoder.mean=(0.5,0.5,0.5)", "--config.method.encoder.std=(0.2,0.2,0.2)", "--config.method.classes=2"]
    flags = cli.parse(["train", "--config=folder:unet", f"--config.data.root={own}", *words], "", config="pretrain")
    assert tuple(flags.config.method.encoder.mean) == (0.5, 0.5, 0.5)


def test_depth_and_range_of_16_bit_images_are_in_the_config_for_predict(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(12):
        image = np.random.default_rng(number).integers(0, 4096, (40, 48), dtype=np.uint16)
        cv2.imwrite(str(tmp_path / "images" / f"{chr(97 + number)}.png"), image)
    flags = cli.parse(["train", "--config=folder", f"--config.data.root={tmp_path}", "--config.data.channels=1"], "", config="pretrain")
    assert (flags.config.data.source.bits, tuple(flags.config.data.source.value_range)) == (16, (0.0, 4095.0))
    assert flags.config.method.decoder.channels == 1
    np.testing.assert_allclose(flags.config.method.encoder.mean, [0.5], atol=0.01)
