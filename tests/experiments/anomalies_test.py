"""`anomalies` on textures with pasted foreign patches, and its files and errors."""

import json

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from experiments import anomalies, pretrain, report
from experiments.console import cli
from tests.experiments import untrained

SIZE = 48


def stripes(rng):
    """Return horizontal stripes of random colours, phase and slight noise."""
    rows = (np.arange(SIZE) + rng.integers(8)) // 4 % 2
    colours = rng.integers(40, 90, 3), rng.integers(160, 220, 3)
    image = np.where(rows[:, None, None] == 0, *colours) * np.ones((1, SIZE, 1))
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def with_patch(rng):
    """Return stripes with a square of vertical stripes of the same colours, and its mask."""
    image, mask = stripes(rng), np.zeros((SIZE, SIZE), np.uint8)
    y, x = rng.integers(4, SIZE - 20, 2)
    image[y : y + 16, x : x + 16] = image[y : y + 16, x : x + 16].swapaxes(0, 1)
    mask[y : y + 16, x : x + 16] = 255
    return image, mask


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    """Return a folder of 40 textures to train on, and 8 to map: 4 with a foreign patch, 4 without, with masks."""
    root, rng = tmp_path_factory.mktemp("textures"), np.random.default_rng(0)
    for name in ("train/images", "photos", "truth"):
        (root / name).mkdir(parents=True)
    for number in range(40):
        Image.fromarray(stripes(rng)).save(root / "train/images" / f"{chr(97 + number % 26)}{number}.png")
    for number in range(8):
        image, mask = with_patch(rng) if number % 2 else (stripes(rng), np.zeros((SIZE, SIZE), np.uint8))
        Image.fromarray(image).save(root / "photos" / f"{number}.png")
        Image.fromarray(mask).save(root / "truth" / f"{number}.png")
    return root


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return a function that runs `anomalies` on a network in place of the workdir's, and returns the exit code."""
    monkeypatch.chdir(tmp_path)
    return lambda trained, *flags: untrained.called(monkeypatch, anomalies, trained, "--init=run", *flags)


def test_foreign_patches_are_found_by_an_autoencoder_of_the_texture(textures, tmp_path, monkeypatch, capsys):
    noise = ("--config.method.noise[0].size=6", "--config.method.noise[0].share=0.3", "--config.method.visible_weight=0.1")
    sizes = ("--config.method.encoder.widths=(16,24)", "--config.method.decoder.widths=(24,16)", "--config.window=(32,32)")
    often = ("--config.steps=250", "--config.evaluate_every=250", "--config.save_every=250", "--config.optimiser.learning_rate=5e-3")
    data = ("--config=folder:denoising,tiny", f"--config.data.root={textures / 'train'}")
    workdir = tmp_path / "run"
    assert cli.guarded(pretrain.run, ["pretrain", *data, *sizes, *noise, *often, f"--workdir={workdir}"]) == 0
    monkeypatch.chdir(tmp_path)
    flags = (f"--init={workdir}", f"--input={textures / 'photos'}", f"--masks={textures / 'truth'}", "--sigma=2")
    assert cli.guarded(anomalies.run, ["anomalies", *flags]) == 0
    scores = json.loads((tmp_path / "anomalies" / "anomalies.json").read_text())
    values = np.stack([np.load(tmp_path / "anomalies/maps" / f"{number}.npy") for number in range(8)])
    masks = np.stack([np.asarray(Image.open(textures / "truth" / f"{number}.png")) for number in range(8)]) > 0
    assert scores["pixel_auroc"] == pytest.approx(roc_auc_score(masks.ravel(), values.ravel()))
    assert scores["image_auroc"] == pytest.approx(roc_auc_score(masks.any((1, 2)), values.max((1, 2))))
    assert scores["pixel_auroc"] > 0.85
    assert scores["image_auroc"] > 0.85
    assert values.dtype == np.float32
    assert f"pixel auroc             {scores['pixel_auroc']:.4f}" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert cli.guarded(report.run, ["report", str(workdir), f"--output={page}"]) == 0
    assert f"anomalies of {textures / 'photos'}" in page.read_text()
    assert f"pixel auroc {scores['pixel_auroc']:.4g}, image auroc {scores['image_auroc']:.4g}" in page.read_text()


def test_every_image_gets_numbers_and_a_picture_of_one_scale(run, textures, tmp_path):
    assert run(untrained.autoencoder(), f"--input={textures / 'photos'}", "--output=out", "--repeats=2") == 0
    names = [f"{number}" for number in range(8)]
    for name in names:
        assert np.load(tmp_path / "out/maps" / f"{name}.npy").shape == (SIZE, SIZE)
        assert np.asarray(Image.open(tmp_path / "out/pictures" / f"{name}.png")).shape == (SIZE, SIZE, 3)
    record = json.loads((tmp_path / "out/anomalies.json").read_text())
    assert record["largest"].keys() == {str(textures / "photos" / f"{name}.png") for name in names}
    assert "pixel_auroc" not in record
    assert (tmp_path / "out/overview.png").exists()


def test_bad_files_are_listed_and_do_not_end_the_others(run, textures, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes((textures / "photos/0.png").read_bytes())
    (tmp_path / "photos/bad.png").write_bytes(b"nothing")
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth/bad.png").write_bytes((textures / "truth/1.png").read_bytes())
    assert run(untrained.autoencoder(), "--input=photos", "--output=out", "--repeats=1") == 1
    printed = capsys.readouterr()
    assert "1 of 2 images" in printed.out
    assert "Skipped photos/bad.png: is not an image that can be read" in printed.err
    assert run(untrained.autoencoder(), "--input=photos/a.png", "--masks=truth", "--output=out2") == 1
    assert "Skipped photos/a.png: has no mask. Add a file of its name to --masks" in capsys.readouterr().err
    (tmp_path / "full/maps").mkdir(parents=True)
    (tmp_path / "full/maps/a.npy").write_bytes(b"mine")
    assert run(untrained.autoencoder(), "--input=photos/a.png", "--output=full") == 2
    assert "is not a result of anomalies, so it is not overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--repeats=0",), "Expected repeats >= 1 and sigma >= 0; got --repeats=0"),
        (("--sigma=-1",), "--sigma=-1.0. Set --repeats=8 --sigma=4."),
        (("--masks=nowhere",), "Expected a folder of masks, or the mask of one image; --masks='nowhere' does not exist."),
        (("--init=",), "Expected the workdir of an autoencoder; got none."),
    ],
)
def test_bad_flags_are_refused_with_one_sentence(run, textures, flags, says, capsys):
    assert run(untrained.autoencoder(), f"--input={textures / 'photos'}", *flags) == 2
    assert says in capsys.readouterr().err


def test_a_segmenter_is_refused(run, textures, capsys):
    assert run(untrained.segmenter(), f"--input={textures / 'photos'}") == 2
    assert "Expected an autoencoder; run holds a segmenter." in capsys.readouterr().err
