"""aeseg/data/picking.py: pretraining never uses images of a segmenter's test split."""

import numpy as np
import pytest
from PIL import Image

from aeseg.data import picking
from aeseg.data.groups import SPLITS
from aeseg.data.sources.folder import Folder

SHARES = (0.7, 0.15, 0.15)


def random_names(count, seed=0):
    letters = np.random.default_rng(seed).integers(97, 123, (count, 9), dtype=np.uint8)
    return sorted(bytes(row).decode() for row in letters)


@pytest.fixture
def own(tmp_path):
    """Make a folder of images, some of them with a label."""

    def make(names, labelled):
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir()
        for name in names:
            Image.new("RGB", (4, 4)).save(tmp_path / "images" / f"{name}.png")
        for name in labelled:
            Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / "labels" / f"{name}.png")
        return tmp_path

    return make


def names_of(root, split, **fields):
    return {files.name for files in Folder(root=str(root), split=split, class_table="2", **fields).records}


@pytest.mark.parametrize("labelled", [3, 12, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_pretraining_and_segmentation_agree_on_the_test_images_for_any_number_of_labels(own, labelled, seed):
    names = random_names(40)
    root = own(names, np.random.default_rng(5).choice(names, labelled, replace=False))
    segments = {split: names_of(root, split, only_labelled=True, split_seed=seed) for split in SPLITS}
    pretrains = {split: names_of(root, split, images_only=True, split_seed=seed) for split in SPLITS}
    for split in ("validation", "test"):
        assert pretrains[split] == segments[split]
    assert pretrains["train"] == set(names) - segments["validation"] - segments["test"], "images without a label also train"


def test_neighbours_of_test_images_do_not_pretrain_even_without_a_label():
    names = [f"film_{number:04d}" for number in range(400)]  # blocks of 10
    labelled = names[::10]
    chosen = {split: set(picking.of_split(names, labelled, split, SHARES, 0)) for split in SPLITS}
    assert not chosen["train"] & (chosen["validation"] | chosen["test"])
    held = {index // 10 for split in ("validation", "test") for index in chosen[split]}
    assert held
    assert not held & {index // 10 for index in chosen["train"]}
    assert len(chosen["train"]) == 10 * (40 - len(held))


def test_without_labels_all_images_are_split():
    names = random_names(20)
    chosen = [picking.of_split(names, (), split, SHARES, 0) for split in SPLITS]
    assert sorted(index for one in chosen for index in one) == list(range(20))


def test_images_in_the_excluded_lists_are_left_out(own, tmp_path):
    names = random_names(20)
    root = own(names, names[:9])
    (root / "test.txt").write_text("\n".join(names[:3]))
    source = Folder(root=str(root), images_only=True, apart_from=(str(root / "test.txt"),))
    assert {files.name for files in source.records} == set(names[3:])
    assert "label" not in source[0]
    assert source.classes == ()


def test_masks_beside_the_images_do_not_pretrain(tmp_path):
    for name in ("a", "b"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
        Image.new("L", (4, 4)).save(tmp_path / f"{name}_mask.png")
    source = Folder(root=str(tmp_path), images=".", labels=".", label_name="{stem}_mask", images_only=True)
    assert [files.name for files in source.records] == ["a", "b"]
