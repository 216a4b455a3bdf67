"""experiments/comparison/health.py: the probe is scikit-learn's ridge classifier, the rank counts dimensions."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from aeseg.types import IGNORE
from experiments.comparison import health
from experiments.comparison.health import Health


def test_the_classifier_is_scikit_learn_s():
    random = np.random.default_rng(0)
    features, labels = random.standard_normal((60, 5)), random.integers(0, 3, 60)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    theirs = RidgeClassifier(alpha=1.0).fit(standard, labels).predict(standard)
    np.testing.assert_array_equal(health.ridge(features, labels, 3)(features), theirs)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_the_effective_rank_of_equally_strong_dimensions_is_their_number(rank):
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 8)))[0]
    features = basis[:, :rank] @ np.eye(8)[:rank]
    assert health.effective_rank(features) == pytest.approx(rank, rel=1e-3)


def test_features_that_separate_the_classes_have_a_higher_probe_than_noise():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (8, 6, 6))
    labels[0, 0, 0] = IGNORE
    noise = random.standard_normal((8, 6, 6, 4)).astype(np.float32)
    telling = noise + 5 * (labels == 1)[..., None]
    assert health.probed(telling, labels, 2).probe > 0.95
    assert health.probed(noise, labels, 2).probe < 0.7


def test_constant_features_have_collapsed_and_a_falling_probe_unlearns():
    constant = health.probed(np.ones((4, 3, 3, 8), np.float32), np.random.default_rng(0).integers(0, 2, (4, 3, 3)), 2)
    assert constant.rank == pytest.approx(1, abs=1e-3)
    fresh = Health(0.5, 6.0)
    assert "collapsed at step 10" in health.warning("spark", 10, constant, fresh)
    assert "unlearns; at step 20 a linear probe has 0.400 mIoU, 0.500" in health.warning("spark", 20, Health(0.4, 6.0), fresh)
    assert health.warning("spark", 20, Health(0.49, 5.0), fresh) == ""
