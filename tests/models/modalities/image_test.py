import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import images
from aeseg.models.modalities.image import Image
from aeseg.types import UserError
from tests.models.modalities import cases

BATCH = cases.batch()
PLAIN, STANDARDISED = Image(patch=4, mean=(0.4,), std=(0.2,)), Image(patch=4, standardised=True)


def test_the_error_is_over_standardised_pixels():
    target = images.patches((BATCH["image"] - 0.4) / 0.2, 4).reshape(4, 16, 48)
    np.testing.assert_allclose(PLAIN.error(target, BATCH), 0, atol=1e-12)
    np.testing.assert_allclose(PLAIN.error(target + 0.5, BATCH), 0.25, rtol=1e-5)


def test_a_standardised_patch_has_mean_0_and_variance_1():
    patches = np.asarray(images.patches(BATCH["image"], 4).reshape(4, 16, 48))
    target = (patches - patches.mean(-1, keepdims=True)) / np.sqrt(patches.var(-1, ddof=1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(STANDARDISED.error(jnp.asarray(target), BATCH), 0, atol=1e-10)
    assert STANDARDISED.term != PLAIN.term


@pytest.mark.parametrize("modality", [PLAIN, STANDARDISED])
def test_pictures_predict_only_hidden_patches(modality):
    visible = jnp.arange(16)[None].repeat(4, axis=0) < 8  # the upper half
    picture = modality.picture(jnp.zeros((4, 16, 48)), visible, BATCH)
    np.testing.assert_allclose(picture[:, :8], BATCH["image"][:, :8], atol=1e-6)
    expected = images.patches(BATCH["image"], 4).mean(-1) if modality.standardised else 0.4
    np.testing.assert_allclose(images.patches(picture, 4)[:, 2:].mean(-1), np.broadcast_to(expected, (4, 4, 4))[:, 2:], atol=1e-5)


def test_it_has_a_token_for_each_patch_of_a_record_with_an_image():
    present = PLAIN.present({**BATCH, "has_image": jnp.array([True, False, True, True])})
    np.testing.assert_array_equal(present, [[True] * 16, [False] * 16, [True] * 16, [True] * 16])
    assert PLAIN.numbers(BATCH) == 48


def test_patches_that_do_not_fill_the_image_are_named():
    with pytest.raises(UserError, match="Image with patches of 5 takes sizes divisible by 5; the image is 16 x 16"):
        Image(patch=5).grid(BATCH)
