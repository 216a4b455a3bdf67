"""Helpers of the tests of modalities: a batch with all modalities, and their contract."""

import jax
import jax.numpy as jnp
import numpy as np

from aeseg.types import IGNORE
from tests import jitted


def batch(rows=4):
    """Return a batch of 16 x 16 pixels, 0.1 s of stereo sound, and captions of 5 to 8 bytes."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (rows, 16, 16))
    label[:, :4, :8] = IGNORE
    caption = np.zeros((rows, 8), np.uint8)
    for row in range(rows):
        text = f"row {row}{'!' * row}".encode()
        caption[row, : len(text)] = list(text)
    arrays = {
        "image": rng.random((rows, 16, 16, 3)).astype(np.float32),
        "depth": rng.random((rows, 16, 16)).astype(np.float32),
        "thermal": rng.random((rows, 16, 16, 2)).astype(np.float32),
        "label": label.astype(np.int32),
        "caption": caption,
        "sound": rng.normal(size=(rows, 1600, 2)).astype(np.float32),
        "valid": np.ones(rows, bool),
        "index": np.arange(rows, dtype=np.int32),
    }
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def check_tokens(modality, inputs, count):
    """Assert that there are `count` tokens, each from its own part of the input and only from its record."""
    variables = jitted.init(modality, jax.random.key(0), inputs, 8, "float32")
    found = jitted.apply(modality, variables, inputs, 8, "float32")
    assert found.shape == (4, count, 8)
    assert modality.present(inputs).shape == (4, count)
    rows, columns = modality.grid(inputs)
    assert rows * columns == count
    assert modality.error(jnp.zeros((4, count, modality.numbers(inputs))), inputs).shape == (4, count)
    lacking = {**inputs, f"has_{modality.key}": jnp.array([True, False, True, True])}
    np.testing.assert_array_equal(modality.present(lacking)[1], False)
    np.testing.assert_array_equal(modality.present(lacking)[0], modality.present(inputs)[0])
    return variables, found
