"""aeseg/inference/likeness.py, against scipy's matrix root, Gaussians in closed form and scikit-learn."""

import numpy as np
import pytest
import scipy.linalg
from sklearn.neighbors import NearestNeighbors

from aeseg.inference.likeness import Nearest, frechet_distance
from aeseg.types import UserError


def features(number, width, seed, scale=1.0):
    random = np.random.default_rng(seed)
    return random.normal(size=(number, width)) @ random.normal(size=(width, width)) * scale + random.normal(size=width)


def test_the_distance_equals_the_formula_with_scipys_matrix_root():
    for number, other in ((200, 300), (30, 40)):
        first, second = features(number, 12, 0), features(other, 12, 1, scale=2.0)
        one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
        root = scipy.linalg.sqrtm(one @ two).real
        expected = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2) + np.trace(one + two - 2 * root)
        assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-8)


def test_of_gaussians_with_diagonal_covariances_it_is_known_in_closed_form():
    """|m1 - m2|^2 + sum (s1 - s2)^2; the features are whitened, so that the moments are exact."""
    random = np.random.default_rng(0)
    white = random.normal(size=(500, 4))
    white -= white.mean(axis=0)
    white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False))).T
    scales, others, shift = np.array([1.0, 2.0, 0.5, 0.0]), np.array([3.0, 2.0, 0.25, 1.0]), np.array([1.0, -2.0, 0.0, 0.5])
    distance = frechet_distance(white * scales, white[::-1] * others + shift)
    assert distance == pytest.approx(np.sum(shift**2) + np.sum((scales - others) ** 2), rel=1e-9)


def test_with_fewer_images_than_numbers_it_is_still_exact():
    first, second = features(5, 40, 2), features(7, 40, 3)
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    values = np.linalg.eigvals(one @ two)
    expected = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2) + np.trace(one + two) - 2 * np.sum(np.sqrt(np.abs(values)))
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6 * np.trace(one))


def test_one_image_has_no_covariance():
    with pytest.raises(UserError, match="2 or more images of each set; got 1 and 7"):
        frechet_distance(features(1, 4, 0), features(7, 4, 0))


@pytest.mark.parametrize("part", [1, 16, 100])
def test_nearest_images_are_scikit_learns_and_exact_for_bytes(part):
    random = np.random.default_rng(4)
    training = random.integers(0, 256, (100, 48)).astype(np.float64)
    queries = np.concatenate([random.integers(0, 256, (20, 48)), training[[3, 50]], training[[7]] + np.eye(1, 48)])
    search = Nearest(queries)
    for start in range(0, 100, part):
        search.add(training[start : start + part], 1000 + np.arange(start, min(100, start + part)))
    distance, index = NearestNeighbors(n_neighbors=1, algorithm="kd_tree").fit(training).kneighbors(queries)
    np.testing.assert_array_equal(search.index, 1000 + index[:, 0])
    np.testing.assert_allclose(search.distance, distance[:, 0], rtol=1e-14)
    assert search.distance[-3:].tolist() == [0, 0, 1]


def test_of_equal_images_the_first_is_the_nearest():
    search = Nearest(np.zeros((1, 2)))
    for numbers in ([4, 5], [6]):
        search.add(np.zeros((len(numbers), 2)), np.array(numbers))
    assert search.index.tolist() == [4]
