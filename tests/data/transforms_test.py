import numpy as np
import pytest
import torch

from aeseg.data import transforms as t
from aeseg.types import IGNORE, UserError


def record(height=40, width=60, channels=3):
    """Smooth regions whose red channel is the label times 20, and whose depth is the label's."""
    y, x = np.mgrid[:height, :width]
    label = ((y // 10 + x // 12) % 5).astype(np.uint8)
    image = np.repeat((label * 20 + 40)[..., None], channels, axis=2).astype(np.uint8)
    return {"image": image, "label": label, "depth": label.astype(np.float32), "name": "a"}


ALL = [
    t.Resize(30, 80),
    t.Resize(64, 64),
    t.RandomScale(0.5, 2.0),
    t.RandomCrop(24, 32),
    t.RandomCrop(48, 100),
    t.CenterCrop(21, 33),
    t.CenterCrop(47, 71),
    t.RandomResizedCrop(32, 48),
    t.Pad(50, 50),
    t.PadToMultiple(16),
    t.HorizontalFlip(1.0),
    t.VerticalFlip(1.0),
    t.RandomRotate(30.0),
]


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_image_label_and_depth_stay_aligned(transform):
    for seed in range(5):
        after = transform(record(), np.random.default_rng(seed))
        image, label, depth = after["image"][..., 0].astype(int), after["label"], after["depth"]
        assert image.shape == label.shape == depth.shape
        assert (image.dtype, label.dtype, depth.dtype) == (int, np.uint8, np.float32)
        assert set(np.unique(label)) <= {0, 1, 2, 3, 4, IGNORE}
        inside = label != IGNORE
        np.testing.assert_array_equal(depth[inside], label[inside])
        # Away from edges, where the image mixes two regions, the pixel says its label.
        assert np.mean(np.abs(image[inside] - (label[inside] * 20 + 40.0)) < 10) > 0.85
        np.testing.assert_array_equal(depth[~inside], 0)


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_an_edge_of_the_image_is_an_edge_of_the_label(transform):
    """Half a pixel of shift would cost about 10 % of these pixels; ties on edges cost up to 4 %."""
    y, x = np.mgrid[:40, :60]
    label = ((x // 10 + y // 10) % 2).astype(np.uint8)
    after = transform({"image": np.repeat(label[..., None] * np.uint8(200), 3, axis=2), "label": label}, np.random.default_rng(0))
    inside = after["label"] != IGNORE
    assert np.mean((after["image"][..., 1] >= 100)[inside] == after["label"][inside]) > 0.96


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_the_same_generator_gives_the_same_record_and_the_input_is_unchanged(transform):
    before = record()
    for value in before.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    first, again = (transform(before, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first["image"], again["image"])
    assert first["name"] == "a"
    np.testing.assert_array_equal(before["image"], record()["image"])


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_one_channel_and_a_missing_label_are_supported(transform):
    grey = record(channels=1)
    del grey["label"]
    after = transform(grey, np.random.default_rng(0))
    assert after["image"].ndim == 3
    assert after["image"].shape[-1] == 1
    assert "label" not in after


@pytest.mark.parametrize(
    ("transform", "size"),
    [
        (t.Resize(30, 80), (30, 80)),
        (t.RandomCrop(48, 32), (48, 32)),
        (t.CenterCrop(48, 32), (48, 32)),
        (t.RandomResizedCrop(17, 90), (17, 90)),
        (t.Pad(50, 50), (50, 60)),
        (t.PadToMultiple(16), (48, 64)),
        (t.PadToMultiple(20), (40, 60)),
        (t.RandomRotate(90.0), (40, 60)),
    ],
    ids=repr,
)
def test_outputs_have_the_requested_sizes(transform, size):
    assert transform(record(), np.random.default_rng(0))["image"].shape[:2] == size


def test_random_scale_keeps_the_aspect_and_covers_its_range():
    sizes = np.array([t.RandomScale(0.5, 2.0)(record(), np.random.default_rng(s))["label"].shape for s in range(200)])
    np.testing.assert_allclose(sizes[:, 1] / sizes[:, 0], 1.5, atol=0.05)
    assert 20 <= sizes[:, 0].min() < 24
    assert 76 < sizes[:, 0].max() <= 80


def test_halving_a_label_takes_the_central_pixel():
    """An even half has its middle between pixels; a third has one."""
    label = np.arange(81, dtype=np.uint8).reshape(9, 9)
    third = t.resized({"image": np.zeros((9, 9, 3), np.uint8), "label": label}, 3, 3)["label"]
    np.testing.assert_array_equal(third, label[1::3, 1::3])


def test_an_axis_that_shrinks_is_averaged_while_the_other_grows_as_in_torch():
    image = np.random.default_rng(0).integers(0, 256, (32, 5, 3)).astype(np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    wanted = torch.nn.functional.interpolate(torch.nn.functional.interpolate(pixels, (4, 5), mode="area"), (4, 12), mode="bilinear")
    resized = t.resized({"image": image}, 4, 12)["image"]
    np.testing.assert_allclose(resized, wanted[0].permute(1, 2, 0), atol=1.1)  # rounded twice


def test_a_crop_larger_than_the_image_pads_with_ignored_pixels():
    after = t.RandomCrop(50, 70)(record(), np.random.default_rng(1))
    assert np.sum(after["label"] != IGNORE) == 40 * 60
    assert after["image"][after["label"] == IGNORE].max() == 0


def test_crops_reach_every_corner():
    counts = np.zeros((4, 4), int)
    place = {"image": np.arange(16, dtype=np.uint8).reshape(4, 4, 1), "name": "a"}
    for seed in range(60):
        counts += np.isin(np.arange(16), t.RandomCrop(2, 2)(place, np.random.default_rng(seed))["image"]).reshape(4, 4)
    assert counts.min() > 0


def test_flips_are_exact():
    a = record()
    np.testing.assert_array_equal(t.HorizontalFlip(1.0)(a, np.random.default_rng(0))["image"], a["image"][:, ::-1])
    np.testing.assert_array_equal(t.VerticalFlip(1.0)(a, np.random.default_rng(0))["label"], a["label"][::-1])
    assert t.HorizontalFlip(0.0)(a, np.random.default_rng(0)) is a


def test_a_crop_that_never_fits_becomes_the_largest_central_crop():
    flat = record(4, 60)
    after = t.RandomResizedCrop(40, 10, smallest=0.9, stretch=1.0)(flat, np.random.default_rng(0))
    assert after["image"].shape == (40, 10, 3)
    np.testing.assert_array_equal(np.unique(after["label"]), np.unique(flat["label"][:, 29:30]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: t.Resize(0, 5), "Resize needs a height and width of at least 1; got 0x5"),
        (lambda: t.RandomScale(2.0, 1.0), "RandomScale needs 0 < low <= high; got 2.0 and 1.0"),
        (lambda: t.RandomResizedCrop(8, 8, smallest=0.0), "0 < smallest <= largest <= 1.0; got 0.0 and 1.0"),
        (lambda: t.RandomResizedCrop(8, 8, stretch=0.5), "got 1.0 and 0.5"),
        (lambda: t.PadToMultiple(0), "at least 1; got 0"),
        (lambda: t.HorizontalFlip(1.5), "HorizontalFlip needs 0 <= probability <= 1; got 1.5"),
        (lambda: t.RandomRotate(-1.0), "degrees <= 180; got -1.0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_other_arrays_pass_through_and_a_flip_refuses_them():
    captioned = {**record(), "caption": np.arange(3, dtype=np.uint8)}
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(t.CenterCrop(2, 2)(captioned, rng)["caption"], captioned["caption"])
    for flip in (t.HorizontalFlip(), t.VerticalFlip()):
        with pytest.raises(UserError, match=r"Flip mirrors the image, but not its caption.* out of --config.data.transforms"):
            flip(captioned, rng)
