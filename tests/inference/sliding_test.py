import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from aeseg.inference import sliding as module
from aeseg.inference.sliding import sliding, sliding_logits, strips
from aeseg.inference.windows import FACTORS, enlarged
from aeseg.types import UserError

SIZES = [(1, 1), (1, 9), (3, 2), (4, 6), (5, 6), (4, 7), (9, 5), (13, 17)]


def per_pixel(images):
    """Return two logits that depend only on the pixel."""
    values = images.astype(np.float32)[..., 0]
    return np.stack([values, 2 * values - 1], axis=-1)


def image(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weights", ["uniform", "gaussian"])
@pytest.mark.parametrize(("stride", "batch"), [((3, 2), 1), ((3, 2), 3), ((1, 1), 4), ((4, 6), 2), ((0, 0), 3)])
def test_a_pixelwise_model_gives_the_same_at_any_size_and_stride(size, weights, stride, batch):
    logits = sliding_logits(per_pixel, image(size), (4, 6), stride, batch, weights)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, per_pixel(image(size)[None])[0], rtol=1e-6)  # a mean of equal floats rounds


@pytest.mark.parametrize("weights", ["uniform", "gaussian"])
def test_an_image_of_the_window_s_size_gives_exactly_the_output_of_predict(weights):
    noise = np.random.default_rng(1).normal(size=(1, 4, 6, 5)).astype(np.float32)
    np.testing.assert_array_equal(sliding_logits(lambda images: noise, image((4, 6)), (4, 6), weights=weights), noise[0])


def test_what_is_aligned_with_the_image_is_cut_with_it_and_what_is_not_is_repeated():
    rng = np.random.default_rng(2)
    scenes = [
        {
            "image": image(size),
            "depth": rng.random(size).astype(np.float32),
            "caption": np.full(3, number, np.uint8),
            "has_depth": np.array(number == 0),
        }
        for number, size in enumerate([(9, 11), (3, 5)])
    ]

    def predict(batch):
        depth = np.where(batch["has_depth"][:, None, None], batch["depth"], 0)
        return np.stack([batch["image"][..., 0] + depth, depth + batch["caption"][:, :1, None]], axis=-1)

    found = list(sliding(predict, scenes, (4, 6), (3, 4), 3))
    for number, (scene, logits) in enumerate(zip(scenes, found, strict=True)):
        depth = scene["depth"] if number == 0 else 0 * scene["depth"]
        np.testing.assert_allclose(logits, np.stack([scene["image"][..., 0] + depth, depth + number], axis=-1), rtol=1e-6)


def test_logits_of_overlapping_windows_are_averaged():
    def nth_window(images):
        return np.arange(1, 3, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 4, 1), np.float32)

    logits = sliding_logits(nth_window, image((1, 6)), (1, 4), (1, 2), batch=2)
    np.testing.assert_array_equal(logits[0, :, 0], [1, 1, 1.5, 1.5, 2, 2])


def test_gaussian_weights_favour_the_centre_of_a_window():
    def nth_window(images):
        return np.arange(2, dtype=np.float32)[:, None, None, None] * np.ones((1, 8, 8, 1), np.float32)

    logits = sliding_logits(nth_window, image((8, 12)), (8, 8), (8, 4), batch=2, weights="gaussian")[4, :, 0]
    assert logits[4] < 0.1 < logits[5] < 0.5 < logits[6] < 0.9 < logits[7]  # the centres of the windows are at 3.5 and 7.5


def test_gaussian_weights_equal_nnu_net_s_down_to_a_thousandth():
    """As in its compute_gaussian: a filtered single pixel.  In the overlap of two windows, the second's logits are its weight."""

    def nth_window(images):
        return np.arange(2, dtype=np.float32)[:, None, None, None] * np.ones((1, 33, 41, 1), np.float32)

    pixel = np.zeros((33, 41))
    pixel[16, 20] = 1
    weight = gaussian_filter(pixel, (33 / 8, 41 / 8), mode="constant")
    weight = np.maximum(weight / weight.max(), 1e-3)
    logits = sliding_logits(nth_window, image((33, 61)), (33, 41), (33, 20), batch=2, weights="gaussian")
    np.testing.assert_allclose(logits[:, 20:41, 0], weight[:, :21] / (weight[:, 20:] + weight[:, :21]), rtol=1e-4)


def test_every_call_has_one_shape_and_batches_mix_windows_of_several_images():
    shapes = []

    def predict(images):
        shapes.append(images.shape)
        return per_pixel(images)

    images = [image(size, seed) for seed, size in enumerate(SIZES)]
    for one, logits in zip(images, sliding(predict, iter(images), (4, 6), batch=4), strict=True):
        assert logits.shape == (*one.shape[:2], 2)
        np.testing.assert_allclose(logits, per_pixel(one[None])[0], rtol=1e-6)
    assert set(shapes) == {(4, 4, 6, 3)}
    assert len(shapes) == (1 + 2 + 1 + 1 + 2 + 2 + 3 + 16) // 4  # windows of each image, in full batches


def test_no_images_give_no_logits():
    assert list(sliding(per_pixel, [], (4, 6))) == []


def test_a_stride_that_would_miss_pixels_is_refused():
    with pytest.raises(UserError, match=r"stride between 1 and the window.*got batch 1 and stride \(5, 1\)"):
        sliding_logits(per_pixel, image((9, 9)), (4, 6), (5, 1))
    with pytest.raises(UserError, match="uniform"):
        sliding_logits(per_pixel, image((9, 9)), (4, 6), weights="round")


@pytest.mark.parametrize(
    ("size", "largest", "expected"),
    [
        ((4, 6), 10**6, (4, 6)),
        ((5, 6), 10**6, (8, 6)),
        ((3, 20), 10**6, (4, 24)),
        ((28, 6), 10**6, (32, 6)),  # 7 times the window's height is rounded up to 8 times
        ((100, 100), 0, (4, 6)),
        ((100, 100), 5, (4, 6)),
        ((15, 6), 16 * 6 - 1, (8, 6)),  # 16 rows are too many: two windows of 8 rows
    ],
)
def test_the_window_is_a_multiple_of_the_trained_window_that_covers_the_image_or_the_largest_allowed(size, largest, expected):
    assert enlarged(size, (4, 6), largest) == expected


@pytest.mark.parametrize("side", range(1, 400, 7))
def test_larger_windows_predict_at_most_a_fifth_more_pixels_than_the_best_choice(side):
    """Counts pixels for all multiples: windows of f * 8 with an overlap of 3 pixels."""
    totals = {f: f * 8 * max(1, -(-(side - 3) // (f * 8 - 3))) for f in FACTORS}
    chosen = enlarged((side, 8), (8, 8), 10**6, (5, 5))[0] // 8
    assert totals[chosen] <= 1.2 * min(totals.values())
    assert all(totals[f] > 1.2 * min(totals.values()) for f in FACTORS if chosen < f <= -(-side // 8)), "the largest of these"


@pytest.mark.parametrize("weights", ["uniform", "gaussian"])
@pytest.mark.parametrize("largest", [0, 4 * 24, 10 * 24, 10**6])
def test_a_pixelwise_model_gives_the_same_in_windows_of_any_size(weights, largest):
    images = [image(size, seed) for seed, size in enumerate([*SIZES, (40, 50)])]
    for one, logits in zip(images, sliding(per_pixel, images, (4, 6), (3, 2), 8, weights, largest), strict=True):
        np.testing.assert_allclose(logits, per_pixel(one[None])[0], rtol=1e-6)


def test_larger_windows_come_in_few_shapes_and_in_batches_of_as_many_pixels():
    shapes = []

    def predict(images):
        shapes.append(images.shape[:3])
        return per_pixel(images)

    images = [image((4, 6), seed) for seed in range(7)] + [image((7, 12), 1)] * 3 + [image((8, 11), 2)] * 2
    for one, logits in zip(images, sliding(predict, images, (4, 6), batch=9, largest=10**6), strict=True):
        np.testing.assert_allclose(logits, per_pixel(one[None])[0], rtol=1e-6)
    assert sorted(shapes) == [(2, 8, 12), (2, 8, 12), (2, 8, 12), (9, 4, 6)], "9 windows of 4x6, or 2 of 8x12, are a call"


def test_larger_windows_overlap_by_the_same_number_of_pixels():
    lefts = []

    def predict(images):
        lefts.extend(images[:, 0, 0, 0].tolist())
        return per_pixel(images)

    ramp = np.broadcast_to(np.arange(40, dtype=np.uint8)[None, :, None], (4, 40, 3))
    sliding_logits(predict, ramp, (4, 6), (4, 4), largest=4 * 12)
    assert lefts == [0, 10, 20, 28], "windows of 12 that overlap by 2, as windows of 6 with stride 4 do; the last ends at the edge"


@pytest.mark.parametrize("largest", [0, 8 * 12])
@pytest.mark.parametrize("size", [*SIZES, (40, 50)])
def test_strips_equal_the_rows_of_the_full_prediction_bit_for_bit(size, largest):
    noise = np.random.default_rng(2).normal(size=(4 * 6 * 8, 2)).astype(np.float32)

    def predict(images):  # a pixel's logits depend on its position in the window
        places = np.arange(images[0, ..., 0].size).reshape(images.shape[1:3])
        return images[..., :2].astype(np.float32) * noise[places]

    arguments = {"window": (4, 6), "stride": (3, 2), "batch": 3, "weights": "gaussian", "largest": largest}
    whole = sliding_logits(predict, image(size), **arguments)
    rows = list(strips(predict, image(size), **arguments))
    np.testing.assert_array_equal(np.concatenate(rows), whole)
    if size == (40, 50):
        assert len(rows) > 3, "rows come before the whole image is predicted"
        assert max(map(len, rows)) <= 8


def test_finished_images_do_not_wait_behind_an_image_whose_batch_is_not_full(monkeypatch):
    monkeypatch.setattr(module, "WAITING", 3 * 4 * 6 * 2 * 4)
    taken = []

    def images():
        yield image((8, 12))  # two of these would fill a call
        for seed in range(20):
            taken.append(seed)
            yield image((4, 6), seed)

    found = sliding(per_pixel, images(), (4, 6), batch=8, largest=10**6)
    np.testing.assert_allclose(next(found), per_pixel(image((8, 12))[None])[0])
    assert len(taken) == 8, "the first full batch of the others is the last that waits"
    assert len(list(found)) == 20
