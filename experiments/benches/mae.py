"""MAE's training step in aeseg and in `transformers`, with the same weights, batch and hidden patches.

The encoder has width 192, 12 blocks with 3 heads, and patches of 16; the decoder has width 512 and 8 blocks with 16 heads.  The loss is the
squared error.
"""

import tempfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeseg.importers import files, vit_mae
from aeseg.importers.rules import to_foreign
from aeseg.methods import masked
from aeseg.spec import build, recipe
from aeseg.types import UserError

from .held import variables_of

NETWORKS = {"mae": (224, 16)}
"""{name: (side of the images, batch)}"""
RATE = 1e-4
ENCODER = {"mean": (0.0,), "std": (1.0,)}
DECODER = {"width": 512, "depth": 8, "heads": 16}


def networks(
    torch: Any, name: str, size: int, encoder: str = "ti16", compiled: bool = True
) -> tuple[Callable[[Any], jax.Array], Any, dict[str, tuple[Callable[[], Any], list[Any]]]]:
    """Return our loss of parameters, our parameters, and the (loss, parameters) of `transformers`, eager and, if `compiled`, compiled.

    Every step hides the same patches.  Neither side standardises the image.  `name` is "mae".
    """
    node = masked.recipe("small")
    node.encoder = recipe("aeseg.models.encoders", "vit", encoder)
    side, rows = size // node.encoder.patch, NETWORKS[name][1]
    node.encoder.update({**ENCODER, "grid": (side, side)})
    node.decoder.update({**DECODER, "grid": (side, side)})
    method = build(node)
    image = np.random.default_rng(0).random((rows, size, size, 3), np.float32)
    batch = {"image": jnp.asarray(image), "valid": jnp.ones(rows, bool), "index": jnp.arange(rows, dtype=jnp.int32)}
    variables = variables_of(lambda: method.init(jax.random.key(0), batch, train=False))
    hidden = method.apply(variables, batch, False, method="_hidden")
    network = twin(vit_mae.config_of(node), to_foreign(vit_mae.rules(node), variables))
    noise = torch.tensor(np.asarray(hidden, np.float32).reshape(rows, -1))  # `transformers` hides the patches with the largest noise
    pixels = torch.tensor(image.transpose(0, 3, 1, 2).copy())

    def loss(params: Any) -> jax.Array:
        return method.apply({"params": params}, batch, train=False)["squared_error"].value()

    def theirs(model: Any) -> tuple[Callable[[], Any], list[Any]]:
        return lambda: model(pixel_values=pixels, noise=noise).loss, [each for each in model.parameters() if each.requires_grad]

    return loss, variables["params"], {"eager": theirs(network()), **({"compiled": theirs(torch.compile(network()))} if compiled else {})}


def twin(config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Callable[[], Any]:
    """Return a function that builds ViTMAEForPreTraining with our weights and fixed position tables."""
    try:
        from transformers import ViTMAEForPreTraining
    except ImportError:
        raise UserError(
            "The comparison of MAE needs transformers, which is not installed. Install it: pip install -e '.[bench]'."
        ) from None

    def made() -> Any:
        with tempfile.TemporaryDirectory() as directory:
            files.write(directory, config, tensors, {})
            return ViTMAEForPreTraining.from_pretrained(directory).train()

    return made
