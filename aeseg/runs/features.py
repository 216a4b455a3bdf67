"""Features of whole images: the pooled features of a trained encoder."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Num
from ml_collections import ConfigDict

from aeseg import images, spec
from aeseg.importers import families, files
from aeseg.runs import init
from aeseg.runs.prior import FIELD
from aeseg.runs.scores import on_every_device, on_local_devices
from aeseg.types import UserError

Features = Callable[[Num[np.ndarray, "b h w c"]], Float[np.ndarray, "b d"]]
"""A function from images, 8-bit or in [0, 1], to a vector for each."""


class Encoder(NamedTuple):
    """The config of an encoder, and its variables by collection."""

    config: ConfigDict
    variables: dict[str, Any]


def encoder_of(path: str) -> Encoder:
    """Return the encoder of a workdir (of a prior: of its autoencoder), or of public weights; UserError if there is none."""
    if files.is_foreign(path):
        model = families.load(path)
        method, variables = model.described, model.variables
        config = method if families.is_encoder(method) else method.encoder
    else:
        stored, variables = init.of_workdir(path)
        method = stored.method
        if FIELD in method:
            method, (frozen,) = method[FIELD], variables[FIELD].values()
            variables = frozen["weights"]
        config = method.get("encoder")
    if config is None or "encoder" not in variables["params"]:
        raise UserError(f"Expected a run with one encoder; {path} has none. Name another workdir, or a directory of public weights.")
    return Encoder(config, {name: leaves["encoder"] for name, leaves in variables.items() if "encoder" in leaves})


def pooled(encoder: Encoder) -> Features:
    """Return a function from images to the mean over positions of the encoder's coarsest features.

    An encoder of patches whose patch does not divide the images' sides sees the images resized to the nearest size that fits.
    """
    module, patch = spec.build(encoder.config), int(encoder.config.get("patch", 1))

    def apply(variables: Any, batch: Any) -> jax.Array:
        image = images.as_float(batch["image"])
        h, w = (max(1, round(side / patch)) * patch for side in image.shape[1:3])
        pyramid = module.apply(variables, images.resize(image, h, w), train=False)
        return jnp.mean(pyramid[max(pyramid)].astype(jnp.float32), axis=(1, 2))

    compiled, variables = on_local_devices(apply), on_every_device(encoder.variables)
    return lambda image: np.asarray(compiled(variables, {"image": image}))
