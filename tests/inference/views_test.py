import functools

import numpy as np
import pytest
import torch
from torch.nn import functional

from aeseg.inference.sliding import sliding
from aeseg.inference.views import averaged
from aeseg.types import UserError


def per_pixel(images):
    """Return two logits that depend only on the pixel."""
    values = np.float32(images)[..., 0] / 64
    return np.stack([values, 2 - values], axis=-1)


def columns(images):
    """Return logits of the classes 0 and 1: 0, and the logarithm of the column's number, from 1."""
    for image in images:
        h, w = image.shape[:2]
        yield np.broadcast_to(np.log(np.stack([np.ones(w), 1 + np.arange(w)], axis=-1)), (h, w, 2)).astype(np.float32)


def image(size, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (*size, 3)).astype(np.float32)


def test_the_image_alone_passes_unchanged():
    slide = functools.partial(sliding, per_pixel, window=(5, 7))
    np.testing.assert_array_equal(next(averaged(slide, [image((5, 7))])), per_pixel(image((5, 7))[None])[0])


def test_with_flip_a_pixels_probabilities_are_the_mean_over_the_image_and_its_mirror_image():
    found = np.exp(next(averaged(columns, [image((2, 3))], flip=True)))
    of_one = np.array([1 / 2, 2 / 3, 3 / 4])  # n / (n + 1) at column n
    np.testing.assert_allclose(found[..., 1], np.tile((of_one + of_one[::-1]) / 2, (2, 1)), rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-6)


def test_views_have_the_scaled_sizes_in_order_and_every_image_its_own_size():
    seen = []

    def slide(images):
        for one in images:
            seen.append(one.shape[:2])
            yield per_pixel(one)

    found = list(averaged(slide, [image((4, 6)), image((1, 3))], scales=(0.5, 1.0, 1.5), flip=True))
    assert seen == [(2, 3), (2, 3), (4, 6), (4, 6), (6, 9), (6, 9), (1, 2), (1, 2), (1, 3), (1, 3), (2, 4), (2, 4)]
    assert [one.shape for one in found] == [(4, 6, 2), (1, 3, 2)]


def test_scales_are_averaged_as_in_torch():
    one = image((6, 8))
    tensor = torch.from_numpy(one).permute(2, 0, 1)[None]
    views = (functional.avg_pool2d(tensor, 2), tensor, functional.interpolate(tensor, scale_factor=1.5, mode="bilinear"))
    probabilities = []
    for view in views:
        logits = torch.from_numpy(per_pixel(view.permute(0, 2, 3, 1).numpy())).permute(0, 3, 1, 2)
        probabilities.append(functional.interpolate(logits.softmax(dim=1), size=(6, 8), mode="bilinear"))
    expected = torch.stack(probabilities).mean(dim=0)[0].permute(1, 2, 0)
    found = np.exp(next(averaged(lambda images: map(per_pixel, images), [one], scales=(0.5, 1.0, 1.5))))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("window", [(3, 4), (8, 5), (20, 20)])
def test_windows_of_any_size_give_the_same_with_full_batches(window):
    calls = []

    def predict(images):
        calls.append(images.shape)
        return per_pixel(images)

    photos = [image((7, 9)), image((4, 11), seed=1)]
    slide = functools.partial(sliding, predict, window=window, batch=5)
    found = averaged(slide, photos, scales=(0.6, 1.3), flip=True)
    expected = averaged(lambda images: map(per_pixel, images), photos, scales=(0.6, 1.3), flip=True)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert set(calls) == {(5, *window, 3)}
    if window == (20, 20):
        assert len(calls) == 2  # 2 images in 4 views, one window each, in batches of five


def test_further_planes_are_averaged_without_softmax():
    """Return two logits and the column's number, in place of an uncertainty."""

    def slide(images):
        for logits in columns(images):
            yield np.concatenate([logits, np.tile(np.arange(logits.shape[1], dtype=np.float32)[:, None], (len(logits), 1, 1))], axis=-1)

    found = next(averaged(slide, [image((2, 3))], flip=True, further=1))
    np.testing.assert_array_equal(found[..., 2], np.ones((2, 3)))
    np.testing.assert_array_equal(found[..., :2], next(averaged(columns, [image((2, 3))], flip=True)))


def test_no_images_give_no_probabilities():
    assert list(averaged(columns, [], flip=True)) == []


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, -1.0), (float("nan"),), (float("inf"),)])
def test_invalid_scales_are_refused(scales):
    with pytest.raises(UserError, match=r"one or more scales, each above 0; got \(.*\)\. Give \(1\.0,\)"):
        next(averaged(columns, [image((2, 2))], scales))
