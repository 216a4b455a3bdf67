import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import masking, tree
from aeseg.models.decoders.convnext import ConvNeXtDecoder
from tests import jitted


@pytest.mark.parametrize(
    ("width", "parameters"),
    [(320, 3_871_232), (768, 4_100_608), (1024, 4_231_680), (1536, 4_493_824), (2816, 5_149_184)],  # atto, tiny, base, large, huge
)
def test_it_has_the_papers_parameter_counts(width, parameters):
    features, hidden = jnp.zeros((1, 2, 2, width)), jnp.zeros((1, 2, 2), bool)
    variables = jax.eval_shape(lambda: ConvNeXtDecoder().init(jax.random.key(0), {32: features}, train=False, hidden=hidden))
    assert tree.count(variables) == parameters


def test_hidden_features_are_a_token_and_its_cells_are_squares_of_pixels():
    decoder, hidden = ConvNeXtDecoder(width=8, stride=4), jnp.array([[[True, False]]])
    pyramid = {4: jax.random.normal(jax.random.key(0), (1, 2, 4, 6)), 8: jnp.zeros((1, 1, 2, 6))}
    image, variables = decoder.init_with_output(jax.random.key(1), pyramid, train=False, hidden=hidden)
    assert image.shape == (1, 8, 16, 3)
    assert variables["params"]["mask_token"].shape == (8,)
    at = masking.spread(hidden, 2)[..., None]
    other = decoder.apply(variables, {4: jnp.where(at, jnp.nan, pyramid[4])}, train=False, hidden=hidden)
    np.testing.assert_array_equal(image, other)
    without = {"params": {name: leaf for name, leaf in variables["params"].items() if name != "mask_token"}}
    assert np.any(jitted.apply(decoder, without, pyramid, train=False) != image)
