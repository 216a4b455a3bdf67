"""aeseg/runs/own_data.py: config fields follow the reader's images, and moved images are found."""

import numpy as np
import pytest
from PIL import Image

from aeseg.data.sources.folder import Folder
from aeseg.runs import own_data
from aeseg.runs.configs import data_config, run_config, warm_adamw
from aeseg.runs.data import SPLITS
from aeseg.runs.workdir import Trained
from aeseg.spec import build, from_json, recipe, spec, to_json
from aeseg.types import UserError
from tests.experiments import untrained


def folder_of(root, value, names="abcdefgh"):
    """Make images of one grey level, half of them with a label."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate(names):
        Image.new("RGB", (16, 16), (value, value, 0)).save(root / "images" / f"{name}.png")
        if number % 2 == 0:
            Image.fromarray(np.eye(16, dtype=np.uint8)).save(root / "labels" / f"{name}.png")
    return root


def trained_on(root):
    """Return an untrained segmenter on a folder."""
    method = recipe("aeseg.methods", "segmenter", "tiny")
    method.classes = 2
    splits = {split: spec(Folder, root=str(root), split=split, class_table="2", only_labelled=True) for split in SPLITS}
    config = run_config(method, data_config(splits), steps=1, batch_size=2, window=(16, 16), optimiser=warm_adamw(1e-3, 1))
    run = build(from_json(to_json(config)))
    return Trained(run, run.method, {}, 1)


def test_moved_images_are_read_from_their_new_location(tmp_path):
    trained = trained_on(folder_of(tmp_path / "before", 10))
    (tmp_path / "before").rename(tmp_path / "after")
    with pytest.raises(UserError, match="There is no directory"):
        trained.run.data.records("test")
    there = own_data.elsewhere(trained, root=str(tmp_path / "after"))
    assert there.run.data.scored("test")[0]["image"].max() == 10
    assert there.run.window == trained.run.window


def test_images_of_another_description_are_read_instead(tmp_path):
    trained = trained_on(folder_of(tmp_path / "one", 10))
    other = spec(Folder, root=str(folder_of(tmp_path / "two", 20)), class_table="2", only_labelled=True).to_dict()
    description = {"source": other, **{split: {"split": split} for split in SPLITS}}
    assert own_data.elsewhere(trained, description=description).run.data.scored("test")[0]["image"].max() == 20
    with pytest.raises(UserError, match="Leave one of them out"):
        own_data.elsewhere(trained, "somewhere", description)


def test_a_run_without_a_root_cannot_be_moved():
    with pytest.raises(UserError, match="this run's data has none"):
        own_data.elsewhere(untrained.segmenter(), "somewhere")


def test_pretraining_with_a_description_of_labelled_images_also_uses_images_without_a_label(tmp_path):
    root = folder_of(tmp_path / "own", 10)
    for split, names in zip(SPLITS, ("a", "c", "e"), strict=True):
        (tmp_path / f"{split}.txt").write_text(names)
    source = spec(Folder, root=str(root), class_table="2", only_labelled=True).to_dict()
    description = {"source": source, **{split: {"list_file": str(tmp_path / f"{split}.txt")} for split in SPLITS}}
    config = run_config(
        recipe("aeseg.methods", "denoising", "tiny"), data_config({split: spec(Folder, root=".", images_only=True) for split in SPLITS}),
        steps=1, batch_size=2, window=(16, 16), optimiser=warm_adamw(1e-3, 1),
    )  # fmt: skip
    own_data.use_data(config, description)
    data = build(config.data)
    names = {split: [files.name for files in data.records(split).records] for split in SPLITS}
    assert names == {"train": ["a", "b", "d", "f", "g", "h"], "validation": ["c"], "test": ["e"]}
    np.testing.assert_allclose(config.method.encoder.mean, [10 / 255, 10 / 255, 0], atol=1e-4)
    assert min(config.method.encoder.std) > 0, "a constant channel"
