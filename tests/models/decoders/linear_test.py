import jax
import jax.numpy as jnp
import numpy as np

from aeseg.models.decoders.linear import LinearDecoder
from tests import jitted


def test_a_cells_pixels_are_a_linear_map_of_that_cell_alone():
    decoder = LinearDecoder(stride=2)
    features = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 4, 5)), jnp.float32)
    variables = jitted.init(decoder, jax.random.key(0), {2: features}, train=False)
    image = jitted.apply(decoder, variables, {2: features}, train=False)
    kernel = np.asarray(variables["params"]["pixels"]["kernel"]).reshape(5, 2, 2, 3)
    assert image.shape == (1, 6, 8, 3)
    np.testing.assert_allclose(image[0, 2:4, 6:8], np.einsum("c,cyxk->yxk", features[0, 1, 3], kernel), atol=1e-5)
