import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import images
from aeseg.models.modalities.planes import Planes
from aeseg.types import UserError
from tests import jitted
from tests.models.modalities import cases

BATCH = cases.batch()


@pytest.mark.parametrize(("key", "planes"), [("depth", 1), ("thermal", 2)])
def test_every_patch_of_all_planes_is_a_token(key, planes):
    modality = Planes(key, patch=4, channels=planes)
    variables, found = cases.check_tokens(modality, BATCH, 16)
    assert modality.numbers(BATCH) == 16 * planes
    changed = {**BATCH, key: BATCH[key].at[:, 5, 6].add(1.0)}
    other = jitted.apply(modality, variables, changed, 8, "float32")
    np.testing.assert_array_equal(np.any(np.asarray(other != found), axis=(0, 2)), np.arange(16) == 5)  # row 1, column 1


def test_the_error_is_the_absolute_error_of_standardised_values():
    modality = Planes(patch=4, mean=0.5, std=0.25)
    target = images.patches((BATCH["depth"][..., None] - 0.5) / 0.25, 4).reshape(4, 16, 16)
    np.testing.assert_allclose(modality.error(target - 0.3, BATCH), 0.3, rtol=1e-5)


def test_pictures_undo_the_standardisation():
    modality = Planes(patch=4, mean=0.5, std=0.25)
    visible = jnp.arange(16)[None].repeat(4, axis=0) < 8
    picture = modality.picture(jnp.zeros((4, 16, 16)), visible, BATCH)
    np.testing.assert_allclose(picture[:, :8, :, 0], BATCH["depth"][:, :8], atol=1e-6)
    np.testing.assert_allclose(picture[:, 8:], 0.5)


def test_whole_numbers_are_read_as_images_are():
    whole = {**BATCH, "thermal": jnp.asarray(np.arange(4 * 16 * 16 * 3).reshape(4, 16, 16, 3) % 256, jnp.uint8)}
    scaled = {**BATCH, "thermal": whole["thermal"].astype(jnp.float32) / 255}
    modality = Planes("thermal", patch=4, mean=0.5, std=0.25, channels=3)
    np.testing.assert_allclose(modality.pixels(whole), (np.asarray(scaled["thermal"]) - 0.5) / 0.25, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(modality.seen(whole), scaled["thermal"], atol=1e-6)
    hidden = jnp.zeros((4, 16), bool)
    assert modality.picture(jnp.zeros((4, 16, 48)), hidden, whole).shape == (4, 16, 16, 3), "three planes are shown in colours"


def test_the_example_is_what_the_modality_reads():
    for modality in (Planes("thermal", patch=4, channels=3), Planes(patch=4)):
        batch = {modality.key: jnp.asarray(modality.example(8, 12)), "valid": jnp.ones(1, bool)}
        assert modality.pixels(batch).shape == (1, 8, 12, modality.channels)


def test_another_number_of_planes_is_named():
    with pytest.raises(UserError, match=r"Planes reads 1 planes of thermal; the batch has 2\. Set channels"):
        Planes("thermal", patch=4).pixels(BATCH)


def test_a_batch_without_the_planes_is_named():
    with pytest.raises(UserError, match=r"Planes reads 'infrared'; the batch has caption, depth, image.* Take a data set with infrared"):
        Planes("infrared", patch=4).grid(BATCH)
