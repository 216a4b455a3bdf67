"""aeseg/runs/own_modalities.py: planes, captions and sounds of a user's folder become modalities, planes standardised as NumPy says."""

import wave

import jax
import numpy as np
import pytest
from PIL import Image

from aeseg.data.sources.folder import Folder
from aeseg.data.statistics import planes_statistics
from aeseg.runs import own_data, own_modalities
from aeseg.runs.configs import data_config, run_config, warm_adamw
from aeseg.runs.data import SPLITS
from aeseg.runs.example import config_example
from aeseg.runs.train import train
from aeseg.spec import build, recipe, spec, to_json
from aeseg.training import step
from aeseg.types import UserError
from experiments.console import cli

RNG = np.random.default_rng(0)


@pytest.fixture
def root(tmp_path):
    """8 images with labels and distances in metres, and thermal images of three of them."""
    for folder in ("images", "labels", "thermal", "depth"):
        (tmp_path / folder).mkdir()
    (tmp_path / "captions").mkdir()
    (tmp_path / "audio").mkdir()
    for number in range(8):
        (tmp_path / f"captions/{number}.txt").write_text("a line from the top left")
        with wave.open(str(tmp_path / f"audio/{number}.wav"), "wb") as sound:
            sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(16_000)
            sound.writeframes(RNG.integers(-99, 99, 4800, np.int16).tobytes())
        Image.fromarray(RNG.integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / f"images/{number}.png")
        Image.fromarray(np.eye(16, dtype=np.uint8)).save(tmp_path / f"labels/{number}.png")
        np.save(tmp_path / f"depth/{number}.npy", RNG.normal(5, 2, (16, 16)).astype(np.float32))
        if number < 3:
            Image.fromarray(RNG.integers(50, 100, (16, 16, 3), np.uint8)).save(tmp_path / f"thermal/{number}.png")
    return tmp_path


def config_of(name, root, aligned=("thermal", "depth")):
    splits = {split: spec(Folder, root=str(root), class_table="2", aligned=aligned) for split in SPLITS}
    method = recipe("aeseg.methods", name, "tiny")
    config = run_config(method, data_config(splits), steps=1, batch_size=2, window=(16, 16), optimiser=warm_adamw(1e-3, 1))
    own_data.follow_images(config)
    return config


def expected(root):
    thermal = np.stack([np.asarray(Image.open(path)) for path in sorted((root / "thermal").glob("*.png"))]) / 255
    return {"thermal": thermal, "depth": np.stack([np.load(path) for path in sorted((root / "depth").glob("*.npy"))])}


def test_statistics_of_planes_are_numpys_over_the_records_that_have_them(root):
    source = Folder(str(root), class_table="2", aligned=("thermal", "depth"))
    for key, values in expected(root).items():
        np.testing.assert_allclose(planes_statistics(source, key), (values.mean(), values.std()), rtol=1e-5)
    (root / "thermal/0.png").rename(root / "thermal/x.png")
    with pytest.raises(UserError, match="None of 1 records has thermal"):
        planes_statistics(Folder(str(root), class_table="2", aligned=("thermal",), part=(0.0, 0.1)), "thermal")


@pytest.mark.parametrize("name", ["multimodal", "fusion", "vote"])
def test_planes_become_modalities_that_the_network_sees_with_mean_0_and_deviation_1(root, name):
    config = config_of(name, root)
    image, *further = config.method.modalities
    assert [(each.key, each.channels, each.patch) for each in further] == [("thermal", 3, image.patch), ("depth", 1, image.patch)]
    encoder = build(config.method.encoder)
    mean, std = (0.0, 1.0) if name != "vote" else (encoder.mean[0], encoder.std[0])
    for modality, values in zip(map(build, further), expected(root).values(), strict=True):
        seen = ((values - modality.mean) / modality.std - mean) / std
        np.testing.assert_allclose([seen.mean(), seen.std()], [0, 1], atol=2e-3)
    assert len(encoder.mean) == (1 if name == "vote" else 3)
    if name == "multimodal":
        assert config.method.visible == 8, "a sixth of 3 x 16 tokens"
    drops = [each.to_dict() for each in config.data.transforms]
    assert [each["keys"] for each in drops] == ([("image", "thermal", "depth")] if name == "fusion" else [])


def test_without_planes_and_for_methods_of_images_nothing_changes(root):
    assert "modalities" not in config_of("segmenter", root).method
    config = config_of("fusion", root, ())
    assert [build(each).key for each in config.method.modalities] == ["image", "depth", "caption", "sound"]
    before = to_json(config)
    own_modalities.follow(config, Folder(str(root), class_table="2"))
    assert to_json(config) == before


SENSES = (
    "--config.data.captions=captions",
    "--config.data.caption_bytes=32",
    "--config.data.audio=audio",
    "--config.data.audio_seconds=0.3",
)
PLANES = "--config.data.aligned=('thermal','depth')"


def folder_config(name, root, *words):
    small = ("--config.window=(32,32)", "--config.steps=2", "--config.batch_size=2")
    if name in ("folder:multimodal", "folder:fusion"):
        small += tuple(f"--config.method.encoder.{field}={value}" for field, value in (("depth", 1), ("width", 16), ("heads", 2)))
    flags = ("program", f"--config={name}", f"--config.data.root={root}", "--config.data.class_table=2", *small, *words)
    return cli.parse(flags, "", config=name).config


@pytest.mark.parametrize("words", [(PLANES, *SENSES), SENSES[:2], SENSES[2:]], ids=["all", "captions", "sounds"])
@pytest.mark.parametrize("name", ["folder:multimodal", "folder:fusion"])
def test_captions_and_sounds_of_a_folder_reach_the_network_and_no_image_is_mirrored(root, tmp_path, name, words):
    config = folder_config(name, root, *words)
    planes = ("thermal", "depth") if PLANES in words else ()
    senses = tuple(key for key, flag in (("caption", SENSES[0]), ("sound", SENSES[2])) if flag in words)
    keys = tuple(build(each).key for each in config.method.modalities)
    assert keys == ("image", *planes, *senses)
    shapes = {key: config_example(config)[key].shape[1:] for key in senses}
    assert shapes == {key: {"caption": (32,), "sound": (4800, 1)}[key] for key in senses}, "estimates count their tokens"
    named = [each.target.rpartition(":")[2] for each in config.data.transforms]
    dropped = ["DropModalities"] if name == "folder:fusion" and planes else []
    assert named == ["RandomScale", "RandomCrop", *dropped]
    if "visible" in config.method:
        tokens = (1 + len(planes)) * 16 + sum({"caption": 32, "sound": 3 * 5}[key] for key in senses)
        assert config.method.visible == round(tokens / 6)
    run = build(config)
    if name == "folder:fusion" and planes:
        assert all(np.isfinite(value) for value in train(run, str(tmp_path / "run")).numbers.values())
    else:
        jax.eval_shape(lambda batch: run.method.init(jax.random.key(0), step.prepare(batch), train=False), run.loader[0])


def test_planes_are_stacked_onto_the_images_of_any_encoder(root, tmp_path):
    config = folder_config("folder:stacked,resnet", root, PLANES)
    assert config_example(config)["image"].shape[-1] == 3 + 3 + 1
    drop, thermal, depth = (each.to_dict() for each in config.data.transforms[-3:])
    assert drop["keys"] == ("image", "thermal", "depth")
    assert (thermal["low"], thermal["high"]) == (0.0, 255.0), "8-bit planes stay as they are"
    values = expected(root)["depth"]
    assert depth["low"] >= values.mean() - 3.2 * values.std()
    assert len(config.method.encoder.mean) == 1
    run = build(config)
    assert run.loader[0]["image"].shape[-1] == 7
    assert all(np.isfinite(value) for value in train(run, str(tmp_path / "run")).numbers.values())
    assert config_example(folder_config("folder:unet", root, PLANES))["image"].shape[-1] == 3, "other segmenters read images alone"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder:vote", "Vote reads images and planes aligned with them; got captions and sounds. Leave out --config.data.captions and "),
        ("folder:stacked", "stacked reads images and planes aligned with them; got captions and sounds. Leave out --config.data.captions"),
        (
            "folder:unet",
            "Segmenter reads images; got captions and sounds. Leave out --config.data.captions and --config.data.audio, or use",
        ),
    ],
)
def test_captions_and_sounds_that_a_network_does_not_read_are_refused(root, name, message):
    with pytest.raises(UserError) as error:
        folder_config(name, root, PLANES, *SENSES)
    assert message in str(error.value)
    assert "use folder:fusion" in str(error.value)


def test_captions_of_a_description_reach_only_networks_that_read_them(root):
    source = spec(Folder, root=str(root), class_table="2", aligned=("depth",), captions="captions")
    description = {"source": source.to_dict(), **{split: {} for split in SPLITS}}
    for name, keys in (("vote", ["image", "depth"]), ("fusion", ["image", "depth", "caption"])):
        config = cli.load_config(f"folder:{name}")
        own_data.use_data(config, description)
        assert [build(each).key for each in config.method.modalities] == keys
        assert bool(config.data.source.captions) == ("caption" in keys)


def test_pseudo_labels_become_a_modality_of_multimae(root):
    config = folder_config("folder:multimodal", root, PLANES, "--config.data.pseudo_labels=labels")
    image, *_, label = build(config.method.modalities)
    assert (label.key, label.classes, label.patch, label.stride) == ("label", 2, image.patch, image.patch // 4)
    assert config.method.visible == round(4 * 16 / 6)
    run = build(config)
    batch = run.loader[0]
    assert batch["has_label"].all()
    jax.eval_shape(lambda batch: run.method.init(jax.random.key(0), step.prepare(batch), train=False), batch)
    with pytest.raises(UserError, match=r"got pseudo-labels\. Leave out --config\.data\.pseudo_labels, or use folder:multimodal"):
        folder_config("folder:denoising", root, "--config.data.pseudo_labels=labels")
