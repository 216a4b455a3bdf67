import numpy as np
import pytest

from aeseg.data.planes import DropPlanes, Stack, WithoutPlanes
from aeseg.types import UserError

RNG = np.random.default_rng(0)


def record():
    rng = np.random.default_rng(1)
    image = rng.integers(1, 256, (4, 5, 3), np.uint8)
    return {"image": image, "depth": rng.random((4, 5)).astype(np.float32), "thermal": image[..., :2].copy(), "name": "a"}


def test_planes_become_channels_of_8_bits():
    given = record()
    found = Stack("depth", low=0.25, high=0.75)(given, RNG)
    np.testing.assert_array_equal(found["image"][..., :3], given["image"])
    expected = np.rint(np.clip((given["depth"].astype(np.float64) - 0.25) * 2, 0, 1) * 255)
    np.testing.assert_allclose(found["image"][..., 3], expected, atol=1)
    assert found["image"].dtype == np.uint8
    assert "depth" not in found
    np.testing.assert_array_equal(Stack("thermal", 0.0, 255.0)(given, RNG)["image"][..., 3:], given["thermal"])


def test_each_group_is_dropped_with_the_probability_and_never_all_groups():
    drop = DropPlanes((2, 1), probability=0.5)
    images = np.stack([drop(record(), RNG)["image"] for _ in range(2000)])
    gone = np.stack([(images[..., :2] == 0).all(axis=(1, 2, 3)), (images[..., 2] == 0).all(axis=(1, 2))], axis=1)
    assert not gone.all(axis=1).any()
    np.testing.assert_allclose(gone.mean(axis=0), 0.25 + 0.25 / 2, atol=0.03)  # only this group, or both and the other was kept
    np.testing.assert_array_equal(images[~gone.any(axis=1)][0], record()["image"])
    np.testing.assert_array_equal(DropPlanes((2, 1), 0.0)(record(), RNG)["image"], record()["image"])


def test_missing_groups_are_0_and_the_others_stay():
    found = WithoutPlanes((1, 2), missing=(1,))(record(), RNG)["image"]
    np.testing.assert_array_equal(found[..., 0], record()["image"][..., 0])
    assert not found[..., 1:].any()


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda: Stack("depth", 1.0, 1.0), "low < high; got 1.0 and 1.0"),
        (lambda: Stack("infrared")(record(), RNG), "Stack reads 'infrared'; record a has depth, image, thermal"),
        (lambda: DropPlanes((3, 1))(record(), RNG), r"Groups of \(3, 1\) channels have 4; the image of a has 3"),
        (lambda: DropPlanes(probability=1.5), "probability"),
        (lambda: WithoutPlanes((3, 1), (2,)), r"the groups 0 to 1; got \(2,\)"),
    ],
)
def test_planes_that_do_not_fit_are_named(transform, message):
    with pytest.raises(UserError, match=message):
        transform()
