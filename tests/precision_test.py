"""Mixed precision of every method, encoder, decoder and head: activations in bfloat16, sensitive operations in float32."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params
from ml_collections import ConfigDict

from aeseg import keys, spec
from aeseg.metrics import divide
from tests.contract import PACKAGES, case, every, shapes, tiny_inputs, weights

NETWORKS = ("method", "encoder", "decoder", "head")
NEEDS_DIGITS = {"exp", "exp2", "log", "log1p", "rsqrt", "sqrt", "reduce_sum", "cumsum"}
"""Operations of softmax, statistics of norms and losses."""


def half(kind, name):
    """Return the tiny recipe with every dtype set, as by a config's `dtype`."""
    config = ConfigDict({"dtype": "bfloat16", "part": spec.recipe(PACKAGES[kind], name, "tiny")})
    spec.follow(config.part, "dtype", config.get_ref("dtype"))
    return spec.build(config.part)


def called(module, variables, inputs):
    rngs = {name: keys.stream(jax.random.key(7), name, 0) for name in keys.STREAMS}
    return module.apply(variables, inputs, train=True, rngs=rngs, mutable=[name for name in variables if name != "params"])[0]


def equations(jaxpr):
    """Yield every equation, also of scans, branches and called functions."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)


@every(*NETWORKS)
def test_softmax_statistics_and_losses_are_float32(kind, name):
    module, inputs = half(kind, name), tiny_inputs(kind)
    variables, _ = shapes(module, inputs)
    jaxpr = jax.make_jaxpr(lambda variables: called(module, variables, inputs))(variables)
    found = list(equations(jaxpr.jaxpr))
    rounded = [e for e in found if e.primitive.name in NEEDS_DIGITS and any(v.aval.dtype == jnp.bfloat16 for v in e.outvars)]
    assert [str(equation.source_info.traceback.frames[0]) for equation in rounded] == []
    assert any(v.aval.dtype == jnp.bfloat16 for e in found for v in e.outvars), "nothing is computed in bfloat16"


@every("method")
def test_a_step_in_bfloat16_is_near_a_step_in_float32(kind, name):
    tested = case(kind, name)
    module = half(kind, name)

    @jax.jit
    def slope(variables):
        def loss(params):
            means = called(module, {**variables, "params": params}, tested.inputs)
            return sum(c * divide(means[term].total, weights(tested)[term]) for term, c in module.coefficients.items())

        return jax.value_and_grad(loss)(variables["params"])

    rough, gradient = slope(tested.variables)
    exact, means, _ = tested.slope(tested.variables, tested.inputs, weights(tested), 7)
    loss = sum(c * divide(means[term].total, weights(tested)[term]) for term, c in module.coefficients.items())
    assert {leaf.dtype.name for leaf in jax.tree.leaves(gradient)} == {"float32"}
    np.testing.assert_allclose(rough, loss, rtol=0.02)
    one, other = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found)]) for found in (gradient, exact))
    assert one @ other / (np.linalg.norm(one) * np.linalg.norm(other)) > 0.9, "the cosine of the angle between the gradients"


def test_the_test_finds_a_softmax_in_bfloat16():
    jaxpr = jax.make_jaxpr(lambda x: jax.lax.map(jax.nn.softmax, x))(jnp.ones((2, 3), jnp.bfloat16))
    rounded = {e.primitive.name for e in equations(jaxpr.jaxpr) if e.outvars[0].aval.dtype == jnp.bfloat16}
    assert "exp" in rounded & NEEDS_DIGITS
