"""aeseg/runs/scores.py: a run's output equals its method's; tests of `predict` cover the flags."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.runs import scores
from aeseg.types import UserError
from experiments.console import predictors
from tests.experiments import untrained

IMAGE = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)


def test_a_segmenter_gives_its_logits_and_an_autoencoder_its_reconstruction():
    segmenter, autoencoder = untrained.segmenter(), untrained.autoencoder()
    logits = segmenter.method.apply(segmenter.variables, jnp.asarray(IMAGE, jnp.float32) / 255, method="predict")
    np.testing.assert_allclose(scores.predictor(*segmenter[:3])(IMAGE), logits, rtol=1e-4, atol=1e-5)
    assert segmenter.run.segments
    assert not autoencoder.run.segments
    found = scores.predictor(*autoencoder[:3])(IMAGE)
    assert found.shape == IMAGE.shape
    assert np.isfinite(found).all()


def test_a_method_without_an_output_image_is_named(monkeypatch):
    autoencoder = untrained.autoencoder()
    monkeypatch.setattr(type(autoencoder.method), "show", lambda self, batch: {"image": batch["image"], "code": batch["image"]})
    with pytest.raises(UserError, match="shows a reconstruction; Denoising shows image, code"):
        scores.predictor(*autoencoder[:3])(IMAGE)


def test_views_need_a_network_that_averages():
    flags = types.SimpleNamespace(scales="0.5,1", flip=True)
    assert predictors.chosen_views(flags, True) == {"scales": (0.5, 1.0), "flip": True}
    with pytest.raises(UserError, match="Leave out --flip and --scales"):
        predictors.chosen_views(flags, False)
