import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg.models.modalities.label import Label
from aeseg.types import IGNORE, UserError
from tests import jitted
from tests.models.modalities import cases

BATCH = cases.batch()
OURS = Label(classes=3, patch=4, stride=2, embedding=5)


def test_every_second_pixel_is_read_and_patches_of_ignored_pixels_are_missing():
    variables, found = cases.check_tokens(OURS, BATCH, 16)
    np.testing.assert_array_equal(OURS.present(BATCH), np.tile(np.arange(16) >= 2, (4, 1)))
    unread = {**BATCH, "label": BATCH["label"].at[:, 1::2].set(0)}
    np.testing.assert_array_equal(jitted.apply(OURS, variables, unread, 8, "float32"), found)
    changed = {**BATCH, "label": BATCH["label"].at[:, 4, 4].set((BATCH["label"][:, 4, 4] + 1) % 3)}
    other = jitted.apply(OURS, variables, changed, 8, "float32")
    np.testing.assert_array_equal(np.any(np.asarray(other != found), axis=(0, 2)), np.arange(16) == 5)


def test_the_error_equals_torchs_cross_entropy_over_labelled_pixels():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 16, 12)).astype(np.float32)
    labels = np.asarray(BATCH["label"])[:, ::2, ::2].reshape(4, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(4, 16, 4)
    labels[0, 5, :2] = IGNORE
    label = labels.reshape(4, 4, 4, 2, 2).transpose(0, 1, 3, 2, 4).reshape(4, 8, 8).repeat(2, axis=1).repeat(2, axis=2)
    found = OURS.error(jnp.asarray(values), {**BATCH, "label": jnp.asarray(label)})
    for row in range(4):
        for token in range(2, 16):
            logits = torch.tensor(values[row, token].reshape(4, 3))
            target = torch.tensor(labels[row, token]).long()
            expected = torch.nn.functional.cross_entropy(logits, target, ignore_index=IGNORE)
            assert found[row, token] == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_array_equal(found[:, :2], 0)


def test_pictures_are_label_maps_with_predicted_hidden_patches():
    values = jnp.tile(jnp.array([0.0, 0.0, 1.0]), (4, 16, 4))  # class 2 everywhere
    picture = OURS.picture(values, jnp.tile(jnp.arange(16) < 8, (4, 1)), BATCH)
    assert picture.shape == (4, 16, 16)
    np.testing.assert_array_equal(picture[:, 8:], 2)
    np.testing.assert_array_equal(picture[:, :8:2, ::2], BATCH["label"][:, :8:2, ::2])


def test_a_patch_that_is_not_a_multiple_of_the_stride_is_refused():
    with pytest.raises(UserError, match="multiple of its stride, 4; got 6"):
        Label(classes=3, patch=6)
