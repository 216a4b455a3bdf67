"""The main job on a folder of images of many sizes: pretrain, segment in three ways, evaluate."""

import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from aeseg import tree
from aeseg.training.checkpoints import load_variables
from experiments import evaluate, pretrain, segment
from experiments.console import cli


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Make twenty images, all of different sizes, few of them divisible; the label marks strong red."""
    folder = tmp_path_factory.mktemp("own")
    random = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for index in range(20):
        image = cv2.resize(random.integers(0, 256, (4, 4, 3), np.uint8), (17 + index, 37 - index))
        cv2.imwrite(str(folder / "images" / f"{index:02d}.png"), image)
        cv2.imwrite(str(folder / "labels" / f"{index:02d}.png"), (image[..., 2] > 127).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def run(root):
    """Run an entry point on that folder with the smallest network."""

    def call(module, *flags):
        settings = (f"--config.data.root={root}", "--config.steps=2", "--config.batch_size=8", "--config.window=(16,16)")
        sizes = ("--config.method.encoder.widths=(4,8)", "--config.method.encoder.bottleneck=8")
        return cli.guarded(module.run, ["program", *settings, *(sizes if "--init" not in " ".join(flags) else ()), *flags])

    return call


@pytest.fixture(scope="module")
def pretrained(run, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "pretrained"
    decoder = "--config.method.decoder.widths=(8,4)"
    assert run(pretrain, "--config=folder", decoder, f"--workdir={workdir}") == 0
    return workdir


def test_a_run_from_before_a_field_was_renamed_resumes_bit_for_bit(run, tmp_path):
    """The earlier version called `transfer` `freeze`, and wrote no target at the top."""
    flags = ("--config=folder", "--config.method.decoder.widths=(8,4)", "--config.save_every=1", "--config.keep=2")
    for name in ("whole", "resumed"):
        assert run(pretrain, *flags, f"--workdir={tmp_path / name}") == 0
    workdir = tmp_path / "resumed"
    old = json.loads((workdir / "config.json").read_text())
    old["freeze"] = old.pop("transfer")
    del old["target"], old["data"]["target"]
    (workdir / "config.json").write_text(json.dumps(old))
    shutil.rmtree(workdir / "checkpoints" / "2")
    assert run(pretrain, *flags, f"--workdir={workdir}") == 0
    assert (workdir / "checkpoints" / "2").exists()
    assert same(*(encoder(tmp_path / name) for name in ("whole", "resumed")))


def encoder(workdir):
    variables = load_variables(str(workdir / "checkpoints"))[1]
    return {name: leaf for name, leaf in tree.flatten(variables).items() if "/encoder/" in name}


def same(left, right):
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def test_a_run_writes_all_documented_files(pretrained):
    assert {path.name for path in pretrained.iterdir()} >= {"config.json", "metrics.jsonl", "events", "checkpoints", "pictures"}
    assert (pretrained / "pictures" / "step_000002.png").stat().st_size > 1000
    rows = [json.loads(line) for line in (pretrained / "metrics.jsonl").read_text().splitlines()]
    assert {"train/loss", "train/learning_rate"} <= rows[0].keys()
    assert {"validation/psnr", "validation/ssim"} <= rows[-1].keys()


def test_a_linear_probe_keeps_the_encoder_unchanged_and_fine_tuning_does_not(run, pretrained, tmp_path):
    """The batch norm averages of a frozen encoder are taken again, on whole images, unless pretraining's are requested."""
    ways = {"linear-probe": "re-estimated", "as pretrained": "pretrained", "fine-tune": "re-estimated"}
    before = encoder(pretrained)
    averages = {name for name in before if name.startswith("batch_stats")}
    assert averages
    for way, statistics in ways.items():
        workdir, kept = tmp_path / way, f"--config.statistics={statistics}"
        transfer = f"--config.transfer={'fine-tune' if way == 'fine-tune' else 'linear-probe'}"
        assert run(segment, "--config=folder:unet", f"--init={pretrained}", transfer, kept, f"--workdir={workdir}") == 0
        after = encoder(workdir)
        weights = before.keys() - averages
        assert same({name: after[name] for name in weights}, {name: before[name] for name in weights}) == (way != "fine-tune")
        changed = {name for name in averages if not np.array_equal(after[name], before[name])}
        assert changed == (set() if way == "as pretrained" else averages)


def test_from_scratch_only_the_architecture_is_used(run, pretrained, tmp_path, capsys):
    workdir = tmp_path / "scratch"
    assert run(segment, "--config=folder:unet", f"--init={pretrained}", "--config.transfer=scratch", f"--workdir={workdir}") == 0
    assert "Took" not in capsys.readouterr().err
    ours, theirs = encoder(workdir), encoder(pretrained)
    assert {name: leaf.shape for name, leaf in ours.items()} == {name: leaf.shape for name, leaf in theirs.items()}
    assert not same(ours, theirs)


@pytest.mark.spread
def test_the_last_lines_give_numbers_pictures_and_a_next_command_that_runs(run, pretrained, tmp_path, capsys):
    workdir = tmp_path / "run"
    assert run(segment, "--config=folder:unet", f"--init={pretrained}", f"--workdir={workdir}") == 0
    last = capsys.readouterr().out.strip().splitlines()[-3:]
    assert [line.split()[0] for line in last] == ["validation", "pictures", "next"]
    assert "mean_iou" in last[0]
    command = last[2].split()
    assert command[:4] == ["next", "python", "-m", "experiments.evaluate"]
    assert cli.guarded(evaluate.run, ["program", *command[4:]]) == 0
    scores = json.loads((workdir / "metrics.json").read_text())["test"]
    assert 0 <= scores["mean_iou"] <= 1
    assert sum(map(sum, scores["confusion"])) == scores["pixels"]


TINY = (
    "--config=pretrain:reconstruction,tiny", "--config.steps=3", "--config.evaluate_every=3", "--config.batch_size=8",
    *(f"--config.data.{split}.{field}=16" for split in ("train", "validation") for field in ("height", "width", "records")),
    "--config.window=(16,16)",
)  # fmt: skip


FOUR_DEVICES = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=4")


def test_two_processes_train_the_same_model_as_one(tmp_path):
    """SLURM's variables start them; each loads its rows, and both write one checkpoint."""
    job = str(os.getpid())
    cluster = {"SLURM_JOB_ID": job, "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    command = [sys.executable, "-m", "experiments.pretrain", *TINY, f"--workdir={tmp_path / 'two'}"]
    runs = []
    for rank in ("0", "1"):
        devices = {"XLA_FLAGS": FOUR_DEVICES, "SLURM_PROCID": rank, "SLURM_LOCALID": rank}
        runs.append(subprocess.Popen(command, env={**os.environ, **cluster, **devices}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    printed = [run.communicate(timeout=900)[0].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], printed
    assert "Finished at step 3" in printed[0]
    assert "Finished at step 3" not in printed[1]
    assert cli.guarded(pretrain.run, ["program", *TINY, f"--workdir={tmp_path / 'one'}"]) == 0
    (_, one), (_, two) = (load_variables(str(tmp_path / name / "checkpoints")) for name in ("one", "two"))
    for name, leaf in tree.flatten(one).items():
        np.testing.assert_allclose(tree.flatten(two)[name], leaf, rtol=1e-4, atol=1e-6, err_msg=name)
