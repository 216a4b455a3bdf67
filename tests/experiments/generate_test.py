"""`generate` on tiny runs of variational and maskgit, as users train them: its files, numbers and errors."""

import json
import re

import jax
import numpy as np
import pytest
from PIL import Image

from aeseg import keys
from aeseg.runs import workdir as workdirs
from experiments import generate, pretrain, report
from experiments.console import cli
from experiments.generating import compared, pictures, results
from experiments.machine import process
from experiments.recorded import measurements

SPLITS = ("train", "validation", "test")
SCENES = tuple(f"--config.data.{split}.{field}=16" for split in SPLITS for field in ("height", "width", "records"))
TINY = (
    "--config.window=(16,16)",
    "--config.batch_size=8",
    "--config.steps=2",
    "--config.evaluate_every=2",
    "--config.save_every=2",
    *SCENES,
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Workdirs of two training steps: {"variational": ..., "quantised": ..., "maskgit": ...}, the last one from the second."""
    folder = tmp_path_factory.mktemp("runs")
    for name, *flags in (("variational",), ("quantised",), ("maskgit", f"--init={folder}/quantised")):
        argv = ["pretrain", f"--config=scenes:{name},tiny", f"--workdir={folder}/{name}", *TINY, *flags]
        assert cli.guarded(pretrain.run, argv) == 0
    return {name: folder / name for name in ("variational", "quantised", "maskgit")}


@pytest.fixture(autouse=True)
def _started(monkeypatch):
    monkeypatch.setattr(process, "start", lambda trains=False: None)


def generated(workdir, output, *flags):
    argv = ["generate", f"--workdir={workdir}", f"--output={output}", "--number=6", "--pairs=2", *flags]
    assert cli.guarded(generate.run, argv) == 0
    return json.loads((output / "generated.json").read_text())


def png(path):
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def made(runs, tmp_path_factory):
    """{method: (folder, generated.json)} of six images each."""
    folder = tmp_path_factory.mktemp("made")
    return {name: (folder / name, generated(runs[name], folder / name)) for name in ("variational", "maskgit")}


@pytest.mark.parametrize("name", ["variational", "maskgit"])
def test_it_writes_images_a_grid_interpolations_and_nearest_images(made, name):
    folder, numbers = made[name]
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    images = [f"samples/{number:04}.png" for number in range(6)]
    assert files == sorted(["generated.json", "interpolations.png", "nearest.png", "samples.png", *images])
    assert [sample["file"] for sample in numbers["samples"]] == images
    assert numbers["frechet"]["images"] == 6
    assert all(np.isfinite(numbers["frechet"][key]) for key in ("samples", "floor"))
    assert {"device", "commit", "versions", "seed", "seconds", "date"} <= numbers.keys()
    first = png(folder / "samples.png")[:96, :96]
    np.testing.assert_array_equal(first[::6, ::6], png(folder / "samples/0000.png"))


def test_a_sample_of_variational_is_the_decoded_draw_of_its_key(runs, made):
    trained = workdirs.load_trained(str(runs["variational"]))
    rows = keys.per_row(jax.random.key(0), jax.numpy.arange(6))
    blank = jax.numpy.zeros((6, 16, 16, 3))
    draw = jax.jit(lambda variables, rows: trained.method.apply(variables, rows, blank, temperature=1.0, method="sample"))
    drawn = draw(trained.variables, rows)
    for number in range(6):
        image = png(made["variational"][0] / f"samples/{number:04}.png").astype(float)
        assert np.abs(image - 255 * np.asarray(drawn[number])).max() <= 0.51


@pytest.mark.parametrize("name", ["variational", "maskgit"])
def test_the_seed_determines_the_images_and_the_batch_does_not(runs, made, tmp_path, name):
    before = [png(made[name][0] / f"samples/{number:04}.png").astype(int) for number in range(6)]
    generated(runs[name], tmp_path / "again", "--batch=4", "--number=3")
    for number in range(3):
        assert np.abs(png(tmp_path / f"again/samples/{number:04}.png").astype(int) - before[number]).max() <= 1
    generated(runs[name], tmp_path / "other", "--seed=1")
    assert any(np.any(png(tmp_path / f"other/samples/{number:04}.png") != before[number]) for number in range(6))


def test_the_nearest_training_image_is_found_among_all_and_their_mirror_images(runs, made):
    folder, numbers = made["maskgit"]
    run = workdirs.load_trained(str(runs["maskgit"])).run
    training = np.stack([record["image"] for record in map(run.training.__getitem__, range(16))]).astype(float)
    training = np.concatenate([training, training[:, :, ::-1]])
    names = [str(run.training[index]["name"]) for index in range(16)] * 2
    for number, sample in enumerate(numbers["samples"]):
        error = np.sqrt(np.mean(np.square(training - png(folder / f"samples/{number:04}.png")), axis=(1, 2, 3)))
        assert sample["pixels"]["distance"] == pytest.approx(error.min(), rel=1e-9)
        assert sample["pixels"]["nearest"] == names[int(error.argmin())]
        assert sample["pixels"]["mirrored"] == (error.argmin() >= 16)


def test_a_memorised_image_has_distance_0_and_counts_as_closer(runs):
    run = workdirs.load_trained(str(runs["variational"])).run
    samples = np.stack([run.training[5]["image"], run.training[7]["image"][:, ::-1]])
    real = compared.halves(run, "test", 4, 8)
    numbers, found = compared.measured(run, samples, real, lambda image: image.reshape(len(image), -1)[:, :9].astype(float), 8)
    assert found["pixels"].distance.tolist() == [0, 0]
    assert found["pixels"].record.tolist() == [5, 7]
    assert found["pixels"].mirrored.tolist() == [False, True]
    np.testing.assert_array_equal(found["pixels"].images, samples)
    assert numbers["nearest"]["pixels"]["closer"] == 1
    assert numbers["nearest"]["pixels"]["held_out"] > 0


def test_fewer_images_replace_those_of_an_earlier_call(runs, tmp_path):
    generated(runs["variational"], tmp_path / "a")
    generated(runs["variational"], tmp_path / "a", "--number=2", "--pairs=0")
    assert sorted(path.name for path in (tmp_path / "a/samples").iterdir()) == ["0000.png", "0001.png"]


def test_the_printed_command_and_the_page_of_the_run_show_the_images(runs, capsys, tmp_path):
    argv = ["generate", f"--workdir={runs['maskgit']}", "--number=4", "--pairs=1", "--steps=2", "--temperature=0"]
    assert cli.guarded(generate.run, argv) == 0
    shown = capsys.readouterr().out
    assert re.search(r"Fréchet distance to the other half +\S+ +\S+\n", shown)
    assert f"report {runs['maskgit']}" in shown
    assert cli.guarded(report.run, ["report", str(runs["maskgit"]), f"--output={tmp_path}/page.html", "--most=2"]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "4 generated images" in page
    assert "Fréchet distance to half of test, 4 images, features of own encoder" in page
    assert page.count('alt="Samples') == 2


def test_the_prior_continues_in_its_workdir_without_its_autoencoder_s(runs, tmp_path, capsys):
    config = json.loads((runs["maskgit"] / "config.json").read_text())
    assert config["method"]["autoencoder"] == json.loads((runs["quantised"] / "config.json").read_text())["method"]
    prior, donor = (workdirs.load_trained(str(runs[name])) for name in ("maskgit", "quantised"))
    jax.tree.map(np.testing.assert_array_equal, prior.variables["autoencoder"]["frozen"]["weights"], donor.variables)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "workdir of a run of variational or maskgit; got none. Set --workdir"),
        (("--workdir={quantised}",), "trains QuantisedAutoencoder, which draws no images. Train a prior .*scenes:maskgit --init="),
        (("--workdir={variational}", "--steps=4"), "Variational draws in one step; got --steps=4. Leave out --steps"),
        (("--workdir={variational}", "--temperature=-2"), "temperature of 0 or more; got -2"),
        (("--workdir={variational}", "--number=1"), "from 2 to 10,000; got 1"),
        (("--workdir={variational}", "--split=train"), "held-out splits are validation, test; got 'train'"),
        (("--workdir={variational}", "--seed=-1"), "seed of 0 or more; got -1"),
        (("--workdir={variational}", "--features=nowhere"), "nowhere.*config.json"),
        (("--workdir={variational}", "--output={variational}"), "holds no results of generate, so it is not written to"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) and value else None,
)
def test_bad_input_is_refused_in_one_sentence(runs, capsys, flags, says):
    assert cli.guarded(generate.run, ["generate", *(flag.format(**runs) for flag in flags)]) == 2
    assert re.search(says, capsys.readouterr().err, re.DOTALL)


@pytest.mark.parametrize(
    ("init", "says"),
    [
        ("", "trained QuantisedAutoencoder, whose codes the prior models; got none.*set --init="),
        ("--init={variational}", "holds aeseg.methods.variational:Variational. Set --init"),
    ],
)
def test_a_prior_needs_a_quantised_autoencoder(runs, capsys, tmp_path, init, says):
    argv = ["pretrain", "--config=scenes:maskgit,tiny", f"--workdir={tmp_path}/a", *TINY, *([init.format(**runs)] if init else [])]
    assert cli.guarded(pretrain.run, argv) == 2
    assert re.search(says, capsys.readouterr().err)


def test_a_prior_starts_no_other_run(runs, capsys, tmp_path):
    argv = ["pretrain", "--config=scenes:quantised,tiny", f"--workdir={tmp_path}/a", *TINY, f"--init={runs['maskgit']}"]
    assert cli.guarded(pretrain.run, argv) == 2
    assert "trains MaskedCodes, which has no encoder. Name its autoencoder's workdir" in capsys.readouterr().err


def test_a_grid_is_as_square_as_possible():
    picture = pictures.grid(np.full((5, 48, 96, 3), 7, np.uint8))
    assert picture.shape == (2 * 48 + 2, 3 * 96 + 4, 3)
    assert np.all(picture[:48, :96] == 7)
    assert np.all(picture[-48:, -96:] == 255)


def test_recorded_numbers_are_on_the_results_page(runs, made, monkeypatch, tmp_path):
    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path))
    assert results.table() == ""
    numbers = generated(runs["variational"], tmp_path / "a", "--record")
    assert "samples" not in json.loads((tmp_path / "generate.jsonl").read_text())
    row = next(line for line in results.table().splitlines() if line.startswith("| variational | own encoder |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:5] == [f"{numbers['frechet']['samples']:.4g}", f"{numbers['frechet']['floor']:.4g}", "6"]
    assert cells[5:7] == [f"{numbers['nearest']['pixels'][of]:.4g}" for of in ("samples", "held_out")]
