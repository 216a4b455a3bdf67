import math

import numpy as np
import pytest
from scipy import ndimage, optimize
from skimage.segmentation import find_boundaries

from aeseg.boundaries import boundary_f1, boundary_overlap, reference_boundary_f1
from aeseg.types import IGNORE


def halves(column, size=(8, 8)):
    """Class 0 before a column, class 1 from this column on."""
    return np.broadcast_to((np.arange(size[1]) >= column).astype(np.int32), size)


def blobs(seed, size=(61, 83), classes=4):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(classes, *size)), (0, 4, 4))
    return np.argmax(noise, axis=0).astype(np.int32)


def with_void(label):
    void = ndimage.binary_dilation(np.random.default_rng(9).random(label.shape) < 0.01, iterations=3)
    return np.where(void, IGNORE, label)


def test_outlines_closer_than_the_tolerance_match():
    np.testing.assert_array_equal(boundary_f1(halves(4), halves(4), 2), [1, 1])
    np.testing.assert_array_equal(boundary_f1(halves(5), halves(4), 2), [1, 1])  # 0.0075 of the diagonal is rounded up to 1 pixel
    np.testing.assert_array_equal(boundary_f1(halves(6), halves(4), 2), [0, 0])


def test_the_tolerance_of_camvids_images_is_five_pixels():
    size = (360, 480)
    np.testing.assert_array_equal(boundary_f1(halves(105, size), halves(100, size), 2), [1, 1])
    np.testing.assert_array_equal(boundary_f1(halves(106, size), halves(100, size), 2), [0, 0])


def test_an_outline_without_a_labelled_outline_costs_precision():
    prediction = halves(4).copy()
    prediction[0, 0] = 1
    precision = np.array([8 / 10, 8 / 9])  # two pixels around the wrong pixel belong to class 0, the wrong pixel to class 1
    np.testing.assert_allclose(boundary_f1(prediction, halves(4), 2), 2 * precision / (precision + 1))
    np.testing.assert_allclose(boundary_f1(halves(4), prediction, 2), 2 * precision / (precision + 1))  # recall is reversed


def test_a_class_is_scored_if_it_is_labelled_and_has_an_outline():
    everywhere = np.zeros((8, 8), np.int32)
    np.testing.assert_array_equal(boundary_f1(everywhere, everywhere, 2), [np.nan, np.nan])  # the image edge is not a boundary
    np.testing.assert_array_equal(boundary_f1(halves(4), everywhere, 2), [0, np.nan])
    np.testing.assert_array_equal(boundary_f1(everywhere, halves(4), 2), [0, 0])


@pytest.mark.parametrize("score", [boundary_f1, boundary_overlap])
def test_predictions_on_void_weigh_nothing(score):
    label = with_void(blobs(1))
    prediction = blobs(2)
    changed = np.where(label == IGNORE, 3 - prediction, prediction)
    np.testing.assert_array_equal(score(changed, label, 4), score(prediction, label, 4))
    assert not np.nansum(score(prediction, np.full_like(label, IGNORE), 4))


def test_a_boundary_on_void_matches_if_the_prediction_beside_it_is_right():
    label = halves(4).copy()
    label[:, 3:5] = IGNORE
    np.testing.assert_array_equal(boundary_f1(halves(5), label, 2), [1, 1])
    np.testing.assert_allclose(boundary_f1(halves(8), label, 2), [2 / 3, 0])  # class 0: precision 1 / 2


def test_f1_equals_outlines_of_scikit_image_and_distances_of_scipy():
    label, prediction = with_void(blobs(3)), blobs(4)
    tolerance = math.ceil(0.0075 * math.hypot(*label.shape))
    expected = []
    for index in range(4):
        mine, theirs = (find_boundaries((one == index) & (label != IGNORE), connectivity=1, mode="inner") for one in (prediction, label))
        precision = np.mean(ndimage.distance_transform_edt(~theirs)[mine] <= tolerance)
        recall = np.mean(ndimage.distance_transform_edt(~mine)[theirs] <= tolerance)
        expected.append(2 * precision * recall / (precision + recall))
    assert 0.05 < min(expected) < max(expected) < 0.95
    np.testing.assert_allclose(boundary_f1(prediction, label, 4), expected)


def test_the_reference_script_scores_every_class_that_is_outlined_in_either_map():
    everywhere = np.zeros((8, 8), np.int32)
    prediction = halves(4).copy()
    prediction[2:4, 6:] = 2
    found = reference_boundary_f1(prediction, halves(4), 4)
    assert found[0] == 1
    assert 0 < found[1] < 1
    np.testing.assert_array_equal(found[2:], [0, np.nan])  # only predicted; nowhere
    np.testing.assert_array_equal(reference_boundary_f1(halves(4), prediction, 4), found)
    np.testing.assert_array_equal(reference_boundary_f1(everywhere, everywhere, 2), [np.nan, np.nan])


def test_the_reference_script_counts_predictions_on_void():
    label = halves(4).copy()
    label[:, 3:5] = IGNORE
    np.testing.assert_array_equal(reference_boundary_f1(halves(3), label, 2), [1, 0])  # class 1 begins two columns farther left
    np.testing.assert_array_equal(reference_boundary_f1(halves(5), label, 2), [0, 1])


def test_the_tolerance_of_the_reference_script_is_not_rounded():
    np.testing.assert_array_equal(reference_boundary_f1(halves(5), halves(4), 2), [0, 0])  # 0.0075 of the diagonal is 0.08 pixels
    size = (360, 480)
    np.testing.assert_array_equal(reference_boundary_f1(halves(104, size), halves(100, size), 2), [1, 1])
    np.testing.assert_array_equal(reference_boundary_f1(halves(105, size), halves(100, size), 2), [0, 0])


def test_the_reference_script_pairs_each_pixel_once():
    """A line two pixels wide has two outlines; each pixel can be paired with only one pixel of a single outline."""
    size = (360, 480)
    label, line = halves(100, size), halves(100, size).copy()
    line[:, 103:] = 0
    assert reference_boundary_f1(line, label, 2)[1] == pytest.approx(2 / 3)  # 360 pairs of 720 and 360 pixels
    assert boundary_f1(line, label, 2)[1] == pytest.approx(1)


@pytest.mark.parametrize("seed", [1, 4, 7])
def test_the_reference_script_equals_outlines_and_an_assignment_of_scipy(seed):
    """As in the script: outlines from the minimum and maximum of 2x2 pixels, pairs by an assignment of least cost."""
    label, prediction = with_void(blobs(seed, (60, 140))), blobs(seed + 1, (60, 140))
    tolerance = 0.0075 * math.hypot(*label.shape)
    assert 1 < tolerance < 2
    expected = []
    for index in range(4):
        places = []
        for one in (prediction == index, label == index):
            filters = (ndimage.maximum_filter, ndimage.minimum_filter)
            largest, smallest = (each(one.astype(int), 2, origin=-1, mode="nearest") for each in filters)
            places.append(np.argwhere(largest != smallest))
        distances = np.linalg.norm(places[0][:, None] - places[1], axis=-1)
        cost = np.where(distances <= tolerance, distances, 200 * tolerance)
        rows, columns = optimize.linear_sum_assignment(cost)
        pairs = np.count_nonzero(distances[rows, columns] <= tolerance)
        precision, recall = pairs / len(places[0]), pairs / len(places[1])
        expected.append(2 * precision * recall / (precision + recall))
    assert 0.02 < min(expected) < max(expected) < 0.9
    np.testing.assert_allclose(reference_boundary_f1(prediction, label, 4), expected)


def test_bands_of_one_pixel_by_hand():
    label, prediction = np.zeros((2, 7, 7), np.int32)
    label[1:6, 1:6] = 1  # a ring of 16 pixels
    prediction[1:6, 1:5] = 1  # a ring of 14, 11 of them in the other ring
    assert boundary_overlap(prediction, label, 2)[:, 1].tolist() == [11, 16 + 14 - 11]


def test_bands_of_camvid_images_are_twelve_pixels_wide_and_follow_the_image_edge():
    everywhere = np.zeros((360, 480), np.int32)
    pixels = 360 * 480 - 336 * 456
    np.testing.assert_array_equal(boundary_overlap(everywhere, everywhere, 2), [[pixels, 0], [pixels, 0]])


def test_bands_are_all_pixels_within_a_chessboard_distance_of_scipy():
    label, prediction = with_void(blobs(5)), blobs(6)
    width = round(0.02 * math.hypot(*label.shape))
    assert width == 2
    expected = []
    for index in range(4):
        masks = [(one == index) & (label != IGNORE) for one in (prediction, label)]
        depths = [ndimage.distance_transform_cdt(np.pad(mask, 1), "chessboard")[1:-1, 1:-1] for mask in masks]
        mine, theirs = (mask & (depth <= width) for mask, depth in zip(masks, depths, strict=True))
        expected.append([(mine & theirs).sum(), (mine | theirs).sum()])
    np.testing.assert_array_equal(boundary_overlap(prediction, label, 4), np.transpose(expected))
