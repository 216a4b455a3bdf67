import jax
import jax.numpy as jnp
import numpy as np

from aeseg.models.bounds import at_least


def test_a_value_below_the_bound_gets_only_the_gradient_that_raises_it():
    values = jnp.array([-1.0, -1.0, 2.0, 2.0])
    np.testing.assert_array_equal(at_least(values, 0.5), [0.5, 0.5, 2, 2])
    slopes = jnp.array([3.0, -3.0, 3.0, -3.0])  # of a loss: negative ones raise the value
    found = jax.grad(lambda values: jnp.sum(slopes * at_least(values, 0.5)))(values)
    np.testing.assert_array_equal(found, [0, -3, 3, -3])
