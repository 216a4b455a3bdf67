import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import positions
from aeseg.models import tokens
from aeseg.types import UserError
from tests import jitted
from tests.models.modalities import cases

BATCH = cases.batch()


def test_all_records_have_a_modality_unless_the_batch_marks_it_missing():
    assert tokens.recorded(BATCH, "depth").all()
    has = jnp.array([True, False, False, True])
    np.testing.assert_array_equal(tokens.recorded({**BATCH, "has_depth": has}, "depth"), has)


def test_planes_of_one_channel_need_no_axis():
    np.testing.assert_array_equal(tokens.patches(BATCH["depth"], 4), tokens.patches(BATCH["depth"][..., None], 4))
    assert tokens.patches(BATCH["thermal"], 8).shape == (4, 4, 128)
    assert tokens.patch_grid(BATCH["depth"][:, :8], 4, "Planes") == (2, 4)


def test_pasting_keeps_visible_patches():
    own = tokens.patches(BATCH["depth"], 4)
    visible = jnp.tile(jnp.arange(16) != 3, (4, 1))
    image = tokens.pasted(jnp.zeros_like(own), own, visible, (4, 4), 4)
    np.testing.assert_array_equal(image[:, :4, 12:], 0)
    np.testing.assert_array_equal(image[:, 4:, :, 0], BATCH["depth"][:, 4:])


def test_a_missing_array_is_named_with_the_arrays_of_the_batch():
    with pytest.raises(UserError, match="Audio reads 'noise'; the batch has caption, depth, image, label, sound, thermal"):
        tokens.read(BATCH, "noise", "Audio")


def test_positions_follow_the_grid():
    import flax.linen as nn
    import jax

    class Embedding(nn.Module):
        @nn.compact
        def __call__(self, values):
            return tokens.embedded(values, (2, 3), 8, "float32")

    zeros = jnp.zeros((1, 6, 4))
    found = jitted.apply(Embedding(), jitted.init(Embedding(), jax.random.key(0), zeros), zeros)
    np.testing.assert_allclose(found[0], positions.sine_cosine(2, 3, 8))
