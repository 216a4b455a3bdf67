"""experiments/configs/scenes.py: label maps as a modality, and the plain rivals of fusion, on a few tiny scenes."""

import numpy as np
import pytest

from aeseg.runs import conditions
from aeseg.runs.train import train
from aeseg.spec import build
from aeseg.types import UserError
from experiments.console import cli

SMALL = (
    "--config.window=(16,16)",
    "--config.batch_size=2",
    "--config.steps=1",
    "--config.data.fraction=1.0",
    *(f"--config.data.source.{side}=16" for side in ("height", "width")),
    *(f"--config.data.{split}.records=2" for split in ("train", "validation", "test")),
)
NARROW = tuple(f"--config.method.encoder.{field}={value}" for field, value in (("depth", 1), ("width", 16), ("heads", 2)))


def config_of(name, *words):
    return cli.parse(("program", f"--config=scenes:{name}", *SMALL, *words), "", config=name).config


def test_multimae_learns_the_label_maps_as_a_modality(tmp_path):
    config = config_of("multimodal,label", *NARROW, "--config.method.visible=2", "--config.method.decoder.width=16")
    image, depth, label = build(config.method.modalities)
    assert (image.key, depth.key, label.key) == ("image", "depth", "label")
    assert (label.classes, label.patch, label.stride) == (8, 8, 2), "4 x 4 classes in a patch, as in the paper"
    assert 0 < train(build(config), str(tmp_path / "run")).numbers["label_cross_entropy"] < 10


def test_depth_is_stacked_onto_the_image():
    run = build(config_of("stacked", "--config.method.encoder.widths=(4,8)", "--config.method.encoder.bottleneck=8"))
    batch, record = run.loader[0], run.data.scored("test")[0]
    assert batch["image"].shape == (2, 16, 16, 4)
    assert "depth" not in batch
    (stack,) = run.data.evaluation_transforms
    seen = stack(record, np.random.default_rng(0))["image"]
    np.testing.assert_array_equal(seen[..., 3], np.rint(255 * record["depth"]))
    assert conditions.modalities(run) == ("image", "depth")


def test_the_vote_has_a_network_for_depth():
    run = build(config_of("vote"))
    assert conditions.modalities(run) == ("image", "depth")


@pytest.mark.parametrize("name", ["vote", "stacked"])
@pytest.mark.parametrize("word", ["caption", "sound", "senses"])
def test_captions_and_sounds_are_no_planes(name, word):
    with pytest.raises(
        UserError, match=rf"{name} reads images and depth, which are aligned; got '{name},{word}'\. Write {name}, or fusion,"
    ):
        config_of(f"{name},{word}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vote", "Vote reads images and planes aligned with them; got captions. Leave out --config.data.source.caption, or use"),
        ("stacked", "stacked reads images and planes aligned with them; got captions. Leave out --config.data.source.caption, or use"),
        ("unet", "Segmenter reads images; got captions. Leave out --config.data.source.caption, or use scenes:fusion,senses."),
    ],
)
def test_captions_that_a_network_does_not_read_are_refused_before_an_image_is_mirrored(name, message):
    with pytest.raises(UserError) as error:
        config_of(name, "--config.data.source.caption=True")
    assert message in str(error.value)
