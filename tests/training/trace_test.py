"""aeseg/training/trace.py: products are counted as by XLA; unlike in XLA, every iteration of a loop counts."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from aeseg.training import trace

A, B = jnp.ones((8, 16)), jnp.ones((16, 32))
IMAGE, KERNEL = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))


def flops(function, *arguments):
    return trace.flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def most_bytes(function, *arguments):
    return trace.most_bytes(jax.make_jaxpr(jax.jit(function))(*arguments).jaxpr)


def convolved(image, kernel, stride=1):
    return lax.conv_general_dilated(image, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def slopes(image, kernel):
    return jax.grad(lambda image, kernel: convolved(image, kernel).sum(), (0, 1))(image, kernel)


def test_a_product_counts_two_operations_per_multiplication():
    assert flops(jnp.matmul, A, B) == 2 * 8 * 16 * 32
    assert flops(lambda a: a + 1, A) == 0


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_is_counted_as_by_xla(stride):
    def function(image, kernel):
        return convolved(image, kernel, stride)

    expected = jax.jit(function).lower(IMAGE, KERNEL).cost_analysis()["flops"]
    assert flops(function, IMAGE, KERNEL) == expected


def test_each_gradient_of_a_convolution_costs_as_much_as_the_convolution():
    forward = flops(convolved, IMAGE, KERNEL)
    assert forward + flops(slopes, IMAGE, KERNEL) == pytest.approx(4 * forward, rel=0.4)  # the zero padding of the images is counted


def test_every_turn_of_a_scan_counts():
    def turns(a):
        return lax.scan(lambda a, _: (a @ jnp.ones((16, 16)), None), a, length=5)[0]

    assert flops(turns, A) == 5 * 2 * 8 * 16 * 16


def test_the_cheapest_branch_counts():
    branches = (lambda a: a @ jnp.ones((16, 4)), lambda a: a @ jnp.ones((16, 8)) @ jnp.ones((8, 4)))
    assert flops(lambda i, a: lax.switch(i, branches, a), 0, A) == 2 * 8 * 16 * 4


def test_the_peak_memory_includes_all_arrays_that_are_still_needed():
    size = 4 * 8 * 16
    assert most_bytes(lambda a: jnp.sin(jnp.sin(jnp.sin(a))), A) == 2 * size
    assert most_bytes(lambda a: (b := jnp.sin(a)) + jnp.cos(jnp.sin(b)), A) == 3 * size
