import zlib

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from aeseg import spec
from aeseg.data.sources import scenes
from aeseg.data.sources.scenes import Scenes
from aeseg.types import UserError


def test_a_record_has_image_label_depth_and_name():
    record = Scenes(records=3, height=40, width=56)[2]
    assert sorted(record) == ["depth", "image", "label", "name"]
    assert (record["image"].shape, record["image"].dtype) == ((40, 56, 3), np.uint8)
    assert (record["label"].shape, record["label"].dtype) == ((40, 56), np.uint8)
    assert (record["depth"].shape, record["depth"].dtype) == ((40, 56), np.float32)
    assert record["name"] == "train-000002"


def test_the_background_lies_at_depth_one_and_objects_before_it():
    record = Scenes(records=1)[0]
    np.testing.assert_array_equal(record["label"] == 0, record["depth"] == 1)
    assert record["depth"].min() > 0


def test_a_record_depends_on_seed_split_and_index_alone():
    first, again = Scenes(records=5), Scenes(records=50)
    for name in ("image", "label", "depth"):
        np.testing.assert_array_equal(first[3][name], again[np.int64(3)][name])
    seen = [Scenes(split=split, seed=seed)[index]["image"].tobytes() for split in scenes.SPLITS for seed in (0, 1) for index in (0, 1)]
    assert len(set(seen)) == 12


def test_the_pixels_are_the_same_on_every_machine():
    """A change here changes every recorded result on scenes: bump them together."""
    record = Scenes(records=8)[7]
    assert [zlib.crc32(record[name].tobytes()) for name in ("image", "label", "depth")] == [3182149595, 4200961783, 110593234]


def test_every_class_occurs_and_each_shape_fills_one_to_ten_percent():
    source = Scenes(records=200)
    counts = sum(np.bincount(source[i]["label"].ravel(), minlength=8) for i in range(200))
    share = counts / counts.sum()
    assert len(source.classes) == len(share) == 8
    assert 0.5 < share[0] < 0.8
    assert (share[1:] > 0.01).all()
    assert (share[1:] < 0.1).all()


def test_objects_grow_with_the_image():
    small, large = (np.mean([(Scenes(height=n, width=n, seed=1)[i]["label"] > 0).mean() for i in range(40)]) for n in (32, 128))
    assert small == pytest.approx(large, rel=0.1)


def test_the_colour_of_a_pixel_does_not_tell_its_class():
    """Logistic regression on RGB, its squares and products: barely above always answering the commonest class."""
    source = Scenes(records=300, height=32, width=32)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 32 * 32, (300, 40))
    colour = np.concatenate([source[i]["image"].reshape(-1, 3)[pixels[i]] for i in range(300)]) / 255 - 0.5
    label = np.concatenate([source[i]["label"].reshape(-1)[pixels[i]] for i in range(300)])
    features = np.concatenate([colour, colour**2, colour * np.roll(colour, 1, axis=1)], axis=1)
    probe = LogisticRegression(max_iter=200).fit(features[:8000], label[:8000])
    balanced = LogisticRegression(max_iter=200, class_weight="balanced").fit(features[:8000], label[:8000])
    prior = np.mean(label[8000:] == 0)
    assert probe.score(features[8000:], label[8000:]) < prior + 0.01
    answer = balanced.predict(features[8000:])
    recall = np.mean([np.mean(answer[label[8000:] == k] == k) for k in range(8)])
    assert recall < 1 / 8 + 0.06


def test_colours_of_the_classes_are_distinct():
    assert len({c.colour for c in scenes.CLASSES}) == len({c.name for c in scenes.CLASSES}) == 8


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_recipes_build(size):
    source = spec.build(scenes.recipe(size))
    assert source[0]["label"].shape == (source.height, source.width)


def test_outside_the_records_is_an_index_error():
    with pytest.raises(IndexError, match=r"records 0\.\.1; got 2"):
        Scenes(records=2)[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "val"}, "train, validation, test; got 'val'"),
        ({"records": -1}, "got -1"),
        ({"height": 8}, "at least 16x16; got 8x64"),
        ({"seed": -3}, "seed >= 0; got -3"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        Scenes(**arguments)


def test_an_unknown_recipe_lists_the_sizes():
    with pytest.raises(UserError, match="tiny, small; got 'huge'"):
        scenes.recipe("huge")
