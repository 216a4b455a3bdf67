"""`predict` and `aeseg.predict` with thermal images, captions and sounds beside the images, on untrained networks."""

import shutil
import wave

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from aeseg.data.planes import DropModalities, Stack
from aeseg.data.sources.folder import Folder
from aeseg.inference import evaluate
from aeseg.methods import fusion, vote
from aeseg.methods.segmenter import Segmenter
from aeseg.models.modalities.image import Image as ImageTokens
from aeseg.models.modalities.planes import Planes
from aeseg.runs import predict as interface
from aeseg.runs.configs import data_config, run_config, warm_adamw
from aeseg.runs.data import SPLITS
from aeseg.runs.workdir import Trained
from aeseg.spec import build, from_json, recipe, spec, to_json
from aeseg.training import step
from aeseg.types import UserError
from experiments import predict
from experiments.predictions import writing
from tests.experiments import untrained

NAMES = ("a", "more/b", "c")
SIZES = {"a": (16, 16), "more/b": (24, 20), "c": (16, 16)}
KEY = "thermal"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return a folder of images with labels, thermal images (none for c), captions and sounds."""
    folder, rng = tmp_path_factory.mktemp("sensors"), np.random.default_rng(0)

    def written(path, values):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.astype(np.uint8)).save(path)

    for name, size in SIZES.items():
        written(folder / "images" / f"{name}.png", rng.integers(0, 256, (*size, 3)))
        written(folder / "colours" / f"{name}.png", rng.integers(0, 256, (*size, 3)))
        written(folder / "labels" / f"{name}.png", 255 * rng.integers(0, 2, size))
        if name != "c":
            written(folder / "thermal" / f"{name}.png", rng.integers(0, 256, size))
    (folder / "captions.csv").write_text("image,caption\na.png,a crack\nmore/b.png,wet\n")
    for name in ("a", "c"):
        (folder / "audio").mkdir(exist_ok=True)
        with wave.open(str(folder / "audio" / f"{name}.wav"), "wb") as sound:
            sound.setparams((1, 2, 16_000, 0, "NONE", ""))
            sound.writeframes((2**13 * rng.standard_normal(16_000)).astype("<i2").tobytes())
    return folder


@pytest.fixture
def alone(root, tmp_path):
    """Return a folder of the images, far from their other files."""
    shutil.copytree(root / "images", tmp_path / "far/away/images")
    return tmp_path / "far/away/images"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return a function that runs `predict` on a network in place of the workdir's, and returns the exit code."""
    monkeypatch.chdir(tmp_path)
    return lambda trained, *flags: untrained.called(monkeypatch, predict, trained, f"--workdir={tmp_path}", "--output=results", *flags)


def network(root, method, transforms=(), drops=(), **fields):
    """Return an untrained network whose data is `root`, and its records."""
    source = spec(Folder, root=str(root), images="images", labels="labels", coding="mask", aligned=(KEY,), **fields)
    splits, changes = dict.fromkeys(SPLITS, source), (*drops, *transforms)
    data = data_config(splits, transforms=changes, evaluation_transforms=transforms, cache_gib=0.0, threads=1)
    config = run_config(method, data, steps=7, batch_size=2, window=(16, 16), optimiser=warm_adamw(1e-3, 7))
    built = build(from_json(to_json(config)))
    channels = 3 + sum(each.channels for each in transforms)
    variables = jax.jit(lambda: built.method.init(jax.random.key(0), jnp.zeros((1, 16, 16, channels)), method="predict"))()
    return Trained(built, built.method, variables, 7), built.data.records("test")


def voting(root):
    encoder, head = recipe("aeseg.models.encoders", "convnet", "tiny"), recipe("aeseg.models.heads", "linear", "tiny")
    encoder.mean, encoder.std, head.classes = (0.5,), (0.25,), 2
    return network(root, spec(vote.Vote, encoder=encoder, head=head, classes=2, modalities=(spec(ImageTokens), spec(Planes, key=KEY))))


def stacking(root, probability=0.25):
    encoder, head = recipe("aeseg.models.encoders", "convnet", "tiny"), recipe("aeseg.models.heads", "linear", "tiny")
    encoder.mean, encoder.std, head.classes = (0.5,), (0.25,), 2
    stack, drop = spec(Stack, key=KEY, low=0.0, high=255.0), spec(DropModalities, keys=("image", KEY), probability=probability)
    return network(root, spec(Segmenter, encoder=encoder, head=head, classes=2), (stack,), (drop,))


def fusing(root):
    method = fusion.recipe("tiny", classes=2)
    method.modalities[1].key, method.modalities[3].channels = KEY, 1
    return network(root, method, captions="captions.csv", audio="audio")


def logits(trained, record):
    """Return the network's logits of a record of 16x16, as `evaluate` computes them."""
    for transform in trained.run.data.evaluation_transforms:
        record = transform(record, np.random.default_rng(0))
    if not trained.method.reads:
        return trained.method.apply(trained.variables, jnp.float32(record["image"][None]) / 255, method="predict")[0]
    batch = {key: jnp.asarray(value[None]) for key, value in evaluate.inputs(record, trained.method.reads).items()}
    return trained.method.apply(trained.variables, step.prepare(batch), method="predict_from")[0]


def written(name):
    return np.load(f"results/logits/{name}.npz")["logits"]


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        (voting, ["--aligned=thermal={root}/thermal"]),
        (stacking, ["--aligned=thermal={root}/thermal"]),
        (fusing, ["--aligned=thermal={root}/thermal", "--captions={root}/captions.csv", "--audio={root}/audio"]),
    ],
)
def test_the_modalities_beside_an_image_are_read_as_from_the_data_set(run, root, alone, kind, flags, capsys):
    trained, records = kind(root)
    words = f"--input={alone}", "--logits", "--batch=1"
    assert run(trained, *words) == 0
    without = {name: written(name) for name in NAMES}
    assert run(trained, *words, *(flag.format(root=root) for flag in flags)) == 0
    named = {name: written(name) for name in NAMES}
    seen = {record["name"]: record for record in records}
    for name in ("a", "c"):
        np.testing.assert_allclose(written(name), logits(trained, seen[name]), atol=1e-5)
    assert np.abs(written("a") - without["a"]).max() > 1e-3
    assert np.abs(written("more/b") - without["more/b"]).max() > 1e-3
    if kind is not fusing:  # c has no thermal image
        np.testing.assert_allclose(written("c"), without["c"], atol=1e-5)
    capsys.readouterr()
    assert run(trained, f"--input={root}/images", "--logits", "--batch=1") == 0, "folders beside the images are found"
    assert "Note: thermal is read from " in capsys.readouterr().err
    for name in NAMES:
        np.testing.assert_array_equal(written(name), named[name])


def test_planes_that_training_never_left_out_must_be_there(run, root, alone, capsys):
    trained, _ = stacking(root, probability=0.0)
    assert run(trained, f"--input={alone}") == 2
    message = "Expected files of thermal, which the network reads as channels of the image and has always seen in training; got none."
    assert f"{message} Set --aligned=thermal=<folder>." in capsys.readouterr().err
    assert run(trained, f"--input={root}/images") == 1
    printed = capsys.readouterr()
    assert "2 of 3 images" in printed.out
    assert f"Skipped {root}/images/c.png: Expected thermal of" in printed.err


def test_a_folder_in_the_images_folder_is_no_image_and_one_that_does_not_fit_is_left_out(run, root, alone, capsys):
    trained, _ = voting(root)
    shutil.copytree(root / "thermal", alone / "thermal")
    assert run(trained, f"--input={alone}") == 0
    printed = capsys.readouterr()
    assert "3 of 3 images" in printed.out
    assert "1 of 3 images have no entry" in printed.err
    shutil.rmtree(alone / "thermal")
    shutil.copytree(root / "colours", alone / "thermal")
    assert run(trained, f"--input={alone}") == 0
    printed = capsys.readouterr().err
    assert "thermal is not read from" in printed
    assert "has planes of 3 x uint8; the network was trained on thermal of 1 x uint8" in printed
    assert "The network also reads thermal, which count as missing" in printed


def test_what_is_missing_is_said_with_its_flag(run, root, alone, capsys):
    trained, _ = fusing(root)
    assert run(trained, f"--input={alone}", f"--audio={root}/audio") == 0
    printed = capsys.readouterr().err
    assert "The network also reads thermal, caption, which count as missing. To give their files: --aligned=thermal=<folder>" in printed
    assert "--captions=<folder or table>" in printed
    assert f"1 of 3 images have no entry in {root}/audio, and count as missing it" in printed


def test_a_large_image_in_strips_gives_the_same_labels(run, root, monkeypatch):
    trained, _ = voting(root)
    flags = f"--input={root}/images", f"--aligned=thermal={root}/thermal", "--batch=1"
    assert run(trained, *flags) == 0
    whole = {name: np.asarray(Image.open(f"results/labels/{name}.png")) for name in NAMES}
    monkeypatch.setattr(writing, "LARGE", 16)
    assert run(trained, *flags) == 0
    for name in NAMES:
        np.testing.assert_array_equal(Image.open(f"results/labels/{name}.png"), whole[name])


def test_folders_of_other_modalities_are_no_images(run, root, tmp_path, capsys):
    trained, _ = voting(root)
    for part in ("images/a.png", "thermal/a.png"):
        target = tmp_path / "all" / part
        target.parent.mkdir(parents=True)
        target.write_bytes((root / part).read_bytes())
    (tmp_path / "all" / "thermal" / "a.png").rename(tmp_path / "all" / "thermal" / "a_thermal.png")
    (tmp_path / "all" / "images" / "a.png").rename(tmp_path / "all" / "a_image.png")
    assert run(trained, "--input=all", "--aligned=all/thermal") == 0
    printed = capsys.readouterr()
    assert "1 of 1 images" in printed.out
    assert "matched as {stem}_image and {stem}_thermal" in printed.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--aligned=depth={root}/thermal"], "The network reads image, thermal; got files of depth. Name each modality"),
        (["--captions={root}/captions.csv"], "The network reads image, thermal; got files of caption. Name each modality"),
        (
            ["--aligned=thermal={root}/thermal,thermal={root}/labels"],
            "got files of thermal, thermal. Name each",
        ),
        (["--aligned=thermal={root}/colours"], "has planes of 3 x uint8; the network was trained on thermal of 1 x uint8. Convert"),
        (["--aligned=thermal={root}/none"], "There is no folder"),
    ],
)
def test_files_that_the_network_cannot_read_are_refused(run, root, flags, message, capsys):
    trained, _ = voting(root)
    assert run(trained, f"--input={root}/images", *(flag.format(root=root) for flag in flags)) == 2
    assert message in capsys.readouterr().err


def test_planes_of_another_size_are_listed(run, root, tmp_path, capsys):
    trained, _ = voting(root)
    (tmp_path / "warm").mkdir()
    Image.new("L", (8, 16)).save(tmp_path / "warm" / "a.png")
    Image.new("L", (16, 16)).save(tmp_path / "warm" / "c.png")
    assert run(trained, f"--input={root}/images", "--aligned=thermal=warm") == 1
    printed = capsys.readouterr()
    assert "2 of 3 images" in printed.out
    assert f"Skipped {root}/images/a.png: is 16x16 (height x width) and warm/a.png is 16x8" in printed.err


def test_the_interface_takes_the_entries_of_a_record(root, monkeypatch):
    trained, records = voting(root)
    monkeypatch.setattr(interface, "load_trained", lambda workdir, step: trained)
    interface._loaded.cache_clear()
    record = next(each for each in records if each["name"] == "a")
    label = interface.predict("runs/any", record["image"], beside={KEY: record[KEY]})
    np.testing.assert_array_equal(label, np.argmax(logits(trained, record), axis=-1))
    with pytest.raises(UserError, match="The network reads image, thermal; got depth of the image"):
        interface.predict("runs/any", record["image"], beside={"depth": record[KEY]})
    with pytest.raises(UserError, match=r"reads 1 planes of thermal, of the image's size 16x16; got an array of shape \(16, 16, 3\)"):
        interface.predict("runs/any", record["image"], beside={KEY: record["image"]})
