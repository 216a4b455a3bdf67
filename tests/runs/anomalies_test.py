"""The network of an anomaly map: sums over maskings of a method's own columns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.inference import anomalies as maps
from aeseg.runs import anomalies
from aeseg.spec import build, recipe
from aeseg.training import step

IMAGE = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)


@pytest.mark.parametrize(("name", "times"), [("masked", 3), ("reconstruction", 1)])
def test_failures_are_summed_over_the_maskings_of_the_first_records(name, times):
    method = build(recipe("aeseg.methods", name, "tiny"))
    batch = step.prepare({"image": jnp.asarray(IMAGE)})
    variables = jax.jit(lambda: method.init(jax.random.key(0), batch, train=False))()
    planes = anomalies.predictor(method, variables, 3)(IMAGE)
    show = jax.jit(lambda variables, batch: method.apply(variables, batch, method="show"))
    each = [maps.failures(show(variables, {**batch, "index": jnp.full(2, index, jnp.int32)})) for index in range(times)]
    np.testing.assert_allclose(planes, sum(each), rtol=1e-4, atol=1e-5)
    if times > 1:
        assert planes[..., 1].mean() == pytest.approx(0.75 * 3)  # MAE hides three quarters
        assert len(np.unique(planes[..., 1])) > 1, "other patches each time"
