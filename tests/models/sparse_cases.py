"""Helpers of the tests of encoders with a masked mode."""

import jax
import jax.numpy as jnp


def shapes(encoder, h, w):
    """Return the shapes of the variables, without computing them."""
    image = jax.ShapeDtypeStruct((2, h, w, 3), jnp.float32)
    return jax.eval_shape(lambda image: encoder.init(jax.random.key(0), image, train=False), image)


def pyramid_shapes(encoder, h, w):
    """Return {stride: shape} of the encoder's features for two images."""
    image = jax.ShapeDtypeStruct((2, h, w, 3), jnp.float32)
    pyramid, _ = jax.eval_shape(lambda image: encoder.init_with_output(jax.random.key(0), image, train=False), image)
    return {stride: features.shape for stride, features in pyramid.items()}
