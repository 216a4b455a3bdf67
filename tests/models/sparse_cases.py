"""What the tests of encoders with a masked mode share."""

import jax
import jax.numpy as jnp


def shapes(encoder, h, w):
    """The variables' shapes; nothing is computed."""
    image = jax.ShapeDtypeStruct((2, h, w, 3), jnp.float32)
    return jax.eval_shape(lambda image: encoder.init(jax.random.key(0), image, train=False), image)


def pyramid_shapes(encoder, h, w):
    """{stride: shape} of what the encoder makes of two images."""
    image = jax.ShapeDtypeStruct((2, h, w, 3), jnp.float32)
    pyramid, _ = jax.eval_shape(lambda image: encoder.init_with_output(jax.random.key(0), image, train=False), image)
    return {stride: features.shape for stride, features in pyramid.items()}
