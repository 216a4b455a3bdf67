import numpy as np
import pytest

from aeseg.data.loader import stacked as batch_of
from aeseg.data.planes import DropModalities, Stack, WithoutModalities, stacked
from aeseg.types import UserError

RNG = np.random.default_rng(0)


def record():
    rng = np.random.default_rng(1)
    image = rng.integers(1, 256, (4, 5, 3), np.uint8)
    depth = rng.random((4, 5)).astype(np.float32) + 0.1
    return {"image": image, "depth": depth, "thermal": image[..., :2].copy(), "caption": np.ones(6, np.uint8), "name": "a"}


def test_planes_become_channels_of_8_bits():
    given = record()
    found = Stack("depth", low=0.25, high=0.75)(given, RNG)
    np.testing.assert_array_equal(found["image"][..., :3], given["image"])
    expected = np.rint(np.clip((given["depth"].astype(np.float64) - 0.25) * 2, 0, 1) * 255)
    np.testing.assert_allclose(found["image"][..., 3], expected, atol=1)
    assert found["image"].dtype == np.uint8
    assert "depth" not in found
    np.testing.assert_array_equal(Stack("thermal", 0.0, 255.0, 2)(given, RNG)["image"][..., 3:], given["thermal"])


def test_missing_planes_become_0_whatever_their_range():
    found = Stack("depth", low=-1.0, high=1.0)({**record(), "has_depth": np.array(False)}, RNG)
    assert not found["image"][..., 3].any()
    assert "has_depth" not in found


def test_each_modality_is_dropped_as_often_as_the_probability_says_and_never_all():
    drop, rng = DropModalities(("image", "depth"), probability=0.5), np.random.default_rng(0)
    records = [drop(record(), rng) for _ in range(2000)]
    has = np.array([[each["has_image"], each["has_depth"]] for each in records])
    assert has.any(axis=1).all()
    np.testing.assert_allclose(1 - has.mean(axis=0), 0.25 + 0.25 / 2, atol=0.03)  # alone, or both and the other was spared
    for each, (image, depth) in zip(records[:50], has[:50], strict=True):
        np.testing.assert_array_equal(each["image"], record()["image"] * np.uint8(image))
        np.testing.assert_array_equal(each["depth"], record()["depth"] * depth)
    np.testing.assert_array_equal(DropModalities(("image", "depth"), 0.0)(record(), rng)["image"], record()["image"])


def test_what_a_record_lacks_is_not_the_one_that_stays():
    lacking = {**record(), "depth": np.zeros((4, 5), np.float32), "has_depth": np.array(False)}
    drop, rng = DropModalities(("image", "depth"), probability=1.0), np.random.default_rng(0)
    assert all(drop(lacking, rng)["has_image"] for _ in range(20))


def test_missing_modalities_are_0_and_marked_and_the_others_stay():
    found = WithoutModalities(("image", "caption"))(record(), RNG)
    assert not found["image"].any()
    assert not found["caption"].any()
    np.testing.assert_array_equal(found["depth"], record()["depth"])
    batch = batch_of([found, WithoutModalities(("image", "caption"))({**record(), "has_caption": np.array(True)}, RNG)])
    assert batch["has_image"].tolist() == batch["has_caption"].tolist() == [False, False]


def test_the_stacked_channels_are_those_of_the_transforms():
    assert stacked((WithoutModalities(), Stack("thermal", 0.0, 255.0, 3), Stack("depth"))) == {"thermal": 3, "depth": 1}


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda: Stack("depth", 1.0, 1.0), "low < high; got 1.0 and 1.0"),
        (lambda: Stack("infrared")(record(), RNG), "Stack reads 'infrared'; record a has caption, depth, image, thermal"),
        (lambda: Stack("thermal")(record(), RNG), "Stack reads 1 planes of 'thermal'; record a has 2. Set channels"),
        (lambda: DropModalities(("image", "radar"))(record(), RNG), "DropModalities reads 'radar'; record a has"),
        (lambda: DropModalities(probability=1.5), "probability"),
        (lambda: WithoutModalities(("radar",))(record(), RNG), "WithoutModalities reads 'radar'"),
    ],
)
def test_planes_that_do_not_fit_are_named(transform, message):
    with pytest.raises(UserError, match=message):
        transform()
