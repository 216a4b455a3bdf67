"""The network of an anomaly map: an autoencoder's failures in one window, summed over several maskings."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from aeseg.inference import anomalies
from aeseg.inference.sliding import Predict
from aeseg.runs import scores
from aeseg.training import step


def predictor(method: nn.Module, variables: Any, repeats: int) -> Predict:
    """Return a function from images [b h w c] to `anomalies.failures` summed over `repeats` maskings or corruptions [b h w 2].

    The maskings are those of the records 0 to `repeats` - 1 in evaluation, the same for every window. A method that hides nothing
    runs once. Compiles once per shape.
    """

    def of_record(variables: Any, image: jax.Array, index: jax.Array) -> jax.Array:
        batch = step.prepare({"image": image, "index": jnp.full(len(image), index, jnp.int32)})
        return anomalies.failures(method.apply(variables, batch, method="show"))  # type: ignore[arg-type]

    def apply(variables: Any, batch: Any) -> jax.Array:
        image = batch["image"]
        shown = jax.eval_shape(lambda: method.apply(variables, step.prepare({"image": image}), method="show"))
        times = repeats if {"visible", "noisy"} & set(shown) else 1  # type: ignore[arg-type]
        return jnp.sum(jax.lax.map(lambda index: of_record(variables, image, index), jnp.arange(times)), axis=0)

    compiled, placed = scores.on_local_devices(apply), scores.on_every_device(variables)
    return lambda inputs: np.asarray(compiled(placed, {"image": inputs}))
