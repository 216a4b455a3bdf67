"""aeseg/runs/predict.py: `aeseg.predict` gives the prediction of `evaluate`."""

import numpy as np
import pytest

from aeseg.inference.sliding import sliding_logits
from aeseg.inference.windows import two_thirds
from aeseg.runs import predict, scores
from aeseg.types import UserError
from tests.experiments import untrained

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 33, 3), dtype=np.uint8)


def test_each_pixel_has_the_class_of_the_largest_logit(monkeypatch):
    trained = untrained.segmenter()
    monkeypatch.setattr(predict, "load_trained", lambda workdir, step: trained)
    predict._loaded.cache_clear()
    label = predict.predict("runs/any", IMAGE)
    logits = sliding_logits(scores.predictor(*trained[:3]), IMAGE, (16, 16), two_thirds((16, 16)), batch=2)
    np.testing.assert_array_equal(label, np.argmax(logits, axis=-1))


def test_an_autoencoder_has_no_classes_to_predict(monkeypatch):
    monkeypatch.setattr(predict, "load_trained", lambda workdir, step: untrained.autoencoder())
    predict._loaded.cache_clear()
    with pytest.raises(UserError, match="Expected a segmentation run; runs/other holds an autoencoder"):
        predict.predict("runs/other", IMAGE)
