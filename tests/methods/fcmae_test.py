import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import masking
from aeseg.methods import fcmae
from aeseg.methods.fcmae import SparseMasked
from aeseg.models.encoders.convnet import ConvNet
from aeseg.models.encoders.dense import DenseEncoder
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.contract import batch

IMAGE = np.asarray(batch()["image"])


class Encoder(nn.Module):
    """An encoder without features."""

    masked_mode = "sparse"
    mean = (0.25,)
    std = (0.5,)

    def __call__(self, image, *, train, hidden):
        return {4: jnp.zeros((image.shape[0], 4, 4, 1))}


class Decoder(nn.Module):
    """The same value at visible pixels, and another at hidden ones."""

    visible: float
    hidden: float

    def __call__(self, pyramid, *, train, hidden):
        at = masking.spread(hidden, 4)[..., None]
        return jnp.broadcast_to(jnp.where(at, self.hidden, self.visible), (*at.shape[:3], 3))


def means(tested, train=False):
    return jitted.apply(tested, {}, batch(), train=train, rngs={"hidden": jax.random.key(3)} if train else {})


def pictures():
    return jitted.apply(method(), {}, batch(), method="show")


def method(visible=0.0, hidden=0.0):
    return SparseMasked(Encoder(), Decoder(visible, hidden), masking.Random(0.6), unit=4)


def standardised_patches():
    """Return [b, 16 patches, 48 numbers], standardised with torch's unbiased variance + 1e-6."""
    seen = (IMAGE - 0.25) / 0.5
    patches = seen.reshape(4, 4, 4, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(4, 16, 48)
    return (patches - patches.mean(-1, keepdims=True)) / np.sqrt(patches.var(-1, ddof=1, keepdims=True) + 1e-6)


def hidden_patches():
    shown = pictures()
    changed = np.any(np.asarray(shown["visible"]) != IMAGE, axis=-1)
    return changed.reshape(4, 4, 4, 4, 4).any(axis=(2, 4)).reshape(4, 16)


def test_the_loss_is_the_squared_error_of_only_the_hidden_standardised_units():
    hidden = hidden_patches()
    assert hidden.sum(axis=1).tolist() == [10] * 4  # round(0.6 * 16)
    assert np.any(hidden[0] != hidden[1])
    for visible, value in ((0.0, 0.0), (7.0, 0.3)):
        expected = np.mean((value - standardised_patches()[hidden]) ** 2)
        np.testing.assert_allclose(means(method(visible, value))["squared_error"].value(), expected, rtol=1e-5)


def test_training_hides_other_units_at_every_step_and_evaluation_the_same_units():
    first = means(method(0, 1), train=True)["squared_error"].total
    assert float(first) != float(means(method(0, 1))["squared_error"].total)
    assert float(means(method(0, 1))["squared_error"].total) == float(means(method(0, 1))["squared_error"].total)


def test_pictures_paste_hidden_units_into_the_image_and_show_the_full_prediction():
    shown = pictures()
    assert list(shown) == ["image", "visible", "reconstruction", "prediction"]
    hidden = np.kron(hidden_patches().reshape(4, 4, 4), np.ones((4, 4), bool))
    average = IMAGE.reshape(4, 4, 4, 4, 4, 3).mean(axis=(2, 4, 5)).repeat(4, 1).repeat(4, 2)[..., None]  # 0 is the mean of a unit
    np.testing.assert_allclose(shown["prediction"], np.broadcast_to(average, IMAGE.shape), atol=1e-5)
    np.testing.assert_array_equal(np.asarray(shown["reconstruction"])[~hidden], IMAGE[~hidden])
    np.testing.assert_allclose(np.asarray(shown["reconstruction"])[hidden], np.broadcast_to(average, IMAGE.shape)[hidden], atol=1e-5)
    assert np.all(np.asarray(shown["visible"])[hidden] == 0.5)


def test_an_encoder_without_a_sparse_mode_is_refused_with_the_sparse_encoders():
    message = r"SparseMasked needs an encoder with a masked mode \(sparse\); DenseEncoder has none.* convnet, convnextv2, resnet"
    with pytest.raises(UserError, match=message):
        SparseMasked(DenseEncoder(), Decoder(0, 0), masking.Random(0.6))


def test_units_smaller_than_the_encoders_coarsest_stride_are_refused():
    small = SparseMasked(ConvNet(widths=(4, 4, 4)), Decoder(0, 0), masking.Random(0.6), unit=4)
    with pytest.raises(UserError, match=r"ConvNet hides squares of a multiple of its coarsest stride, 8 pixels.* are 4 x 4 pixels"):
        jax.eval_shape(lambda: small.init(jax.random.key(0), batch(), train=False))


def test_the_recipe_has_the_papers_numbers():
    paper = build(fcmae.recipe("atto"))
    assert (paper.unit, paper.sampler, paper.decoder.width, paper.decoder.depth) == (32, masking.RandomUp(0.6), 512, 1)
    assert paper.sampler.count(7, 7) == 49 - int(49 * (1 - 0.6))
