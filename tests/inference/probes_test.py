import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from aeseg.inference import probes
from aeseg.types import IGNORE, UserError


@pytest.fixture
def patches():
    """Return points of three overlapping clouds."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 120).astype(np.int32)
    features = random.normal(size=(120, 5)).astype(np.float32) + 1.5 * np.eye(3, 5)[labels].astype(np.float32)
    return probes.Patches(features, labels, 120)


@pytest.fixture
def queries():
    return np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype(np.float32)


def test_nearest_neighbours_equal_scikit_learn(patches, queries):
    found = jax.jit(probes.nearest(patches, 3, neighbours=7, temperature=0.2))(jnp.asarray(queries))
    theirs = KNeighborsClassifier(7, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.2))
    theirs.fit(patches.features, patches.labels)
    np.testing.assert_allclose(found.reshape(-1, 3), theirs.predict_proba(queries.reshape(-1, 5)), atol=1e-5)


def test_logistic_regression_equals_scikit_learn(patches, queries):
    found = jax.nn.softmax(probes.logistic(patches, 3, strength=0.5, tolerance=1e-6)(jnp.asarray(queries)))
    mean, std = patches.features.mean(axis=0), patches.features.std(axis=0)
    theirs = LogisticRegression(C=0.5, tol=1e-8, max_iter=1000).fit((patches.features - mean) / std, patches.labels)
    np.testing.assert_allclose(found.reshape(-1, 3), theirs.predict_proba((queries.reshape(-1, 5) - mean) / std), atol=1e-4)


def test_classes_without_patches_and_constant_features_are_handled(patches, queries):
    silent = patches._replace(features=patches.features * np.float32([1, 1, 1, 1, 0]))
    for probe in (probes.nearest(silent, 4), probes.logistic(silent, 4)):
        scores = np.asarray(probe(jnp.asarray(queries)))
        assert np.isfinite(scores).all()
        assert (scores.argmax(axis=-1) < 3).all()


def test_a_patch_has_the_label_of_most_of_its_pixels():
    label = np.array([[[0, 1, IGNORE, IGNORE], [1, 1, IGNORE, IGNORE], [2, 2, 1, IGNORE], [0, 0, IGNORE, 2]]])
    np.testing.assert_array_equal(probes.patch_labels(label, 2, 3), [[[1, IGNORE], [0, 1]]])  # ties: the first class


def test_patches_are_spread_over_the_images_and_padding_gives_none():
    label = np.zeros((4, 4, 4), np.int32)
    label[0, :2] = IGNORE
    image = np.arange(4 * 16).reshape(4, 4, 4, 1)
    batch = {"image": image, "label": label, "valid": np.array([True, True, True, False])}
    found = probes.collect([batch], lambda image: image[:, ::2, ::2], 2, 1, images=3, most=7)
    assert found.offered == 2 + 4 + 4
    places = found.features[:, 0].astype(int) // 16
    assert np.bincount(places, minlength=4).tolist() == [2, 2, 3, 0]
    whole = probes.collect([batch], lambda image: image[:, ::2, ::2], 2, 1, images=3, most=100)
    assert whole.features[:, 0].tolist() == [8, 10, *[16, 18, 24, 26], *[32, 34, 40, 42]]


def test_input_without_a_possible_probe_is_refused(patches):
    batch = {"image": np.zeros((1, 2, 2, 1)), "label": np.full((1, 2, 2), IGNORE), "valid": np.array([True])}
    with pytest.raises(UserError, match="Expected labelled patches; all pixels of the 1 training images are ignored"):
        probes.collect([batch], lambda image: image, 1, 2, 1, 10)
    with pytest.raises(UserError, match=r"at least 1 patch; got 0. Set --patches"):
        probes.collect([batch], lambda image: image, 1, 2, 1, 0)
    with pytest.raises(UserError, match=r"knn needs neighbours >= 1 and temperature > 0; got 0 and 0.07"):
        probes.nearest(patches, 3, neighbours=0)
    with pytest.raises(UserError, match=r"needs strength > 0 and iterations >= 1; got 0.0 and 200"):
        probes.logistic(patches, 3, strength=0.0)
