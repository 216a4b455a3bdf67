"""aeseg/runs/own_modalities.py: the planes of a user's folder become modalities, standardised as NumPy says."""

import numpy as np
import pytest
from PIL import Image

from aeseg.data.sources.folder import Folder
from aeseg.data.statistics import planes_statistics
from aeseg.runs import own_data, own_modalities
from aeseg.runs.configs import data_config, run_config, warm_adamw
from aeseg.runs.data import SPLITS
from aeseg.spec import build, recipe, spec, to_json
from aeseg.types import UserError

RNG = np.random.default_rng(0)


@pytest.fixture
def root(tmp_path):
    """8 images with labels and distances in metres, and thermal images of three of them."""
    for folder in ("images", "labels", "thermal", "depth"):
        (tmp_path / folder).mkdir()
    for number in range(8):
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
