"""MAE's training step here and in `transformers`, for the bench: the same weights, the same batch, the same hidden patches.

Width 192 and 12 blocks with 3 heads, patches of 16; the decoder 512 wide, 8 blocks with 16 heads; squared error; AdamW.
"""

import tempfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aeseg.importers import files, vit_mae
from aeseg.importers.rules import to_foreign
from aeseg.methods import masked
from aeseg.spec import build, recipe
from aeseg.types import UserError

BATCH = 16
RATE = 1e-4
ENCODER = {"mean": (0.0,), "std": (1.0,)}
DECODER = {"width": 512, "depth": 8, "heads": 16}
Step = Callable[[], float]
"""Trains one step and returns its loss."""


def steps(torch: Any, size: int, encoder: str = "ti16", compiled: bool = True) -> tuple[Step, dict[str, Step]]:
    """(ours, theirs by name: eager, and `compiled` by torch.compile).  `transformers` gets the image as we do, without standardising."""
    described = masked.recipe("small")
    described.encoder = recipe("aeseg.models.encoders", "vit", encoder)
    side = size // described.encoder.patch
    described.encoder.update({**ENCODER, "grid": (side, side)})
    described.decoder.update({**DECODER, "grid": (side, side)})
    method = build(described)
    image = np.random.default_rng(0).random((BATCH, size, size, 3), np.float32)
    batch = {"image": jnp.asarray(image), "valid": jnp.ones(BATCH, bool), "index": jnp.arange(BATCH, dtype=jnp.int32)}
    variables = jax.jit(lambda: method.init(jax.random.key(0), batch, train=False))()
    tensors = to_foreign(vit_mae.rules(described), variables)
    hidden = method.apply(variables, batch, False, method="_hidden")
    network = twin(vit_mae.config_of(described), tensors)
    noise = torch.tensor(np.asarray(hidden, np.float32).reshape(BATCH, -1))  # theirs hides what has the largest
    pixels = torch.tensor(image.transpose(0, 3, 1, 2).copy())
    theirs = {"eager": torch_step(torch, network(), pixels, noise)}
    if compiled:
        theirs["compiled"] = torch_step(torch, torch.compile(network()), pixels, noise)
    return jax_step(method, variables["params"], batch), theirs


def jax_step(method: Any, params: Any, batch: dict[str, jax.Array]) -> Step:
    """Ours; the same patches are hidden in every step, as in theirs."""
    optimiser = optax.adamw(RATE, weight_decay=0.0)

    def loss(params: Any) -> jax.Array:
        return method.apply({"params": params}, batch, train=False)["squared_error"].value()

    def update(params: Any, state: Any) -> tuple[Any, Any, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(params)
        change, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, change), state, value

    jitted = jax.jit(update, donate_argnums=(0, 1))
    held = [params, optimiser.init(params)]

    def step() -> float:
        *held[:], value = jitted(*held)
        jax.block_until_ready(held)
        return float(value)

    return step


def twin(config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Callable[[], Any]:
    """Makes ViTMAEForPreTraining with our weights, its position tables fixed."""
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


def torch_step(torch: Any, network: Any, pixels: Any, noise: Any) -> Step:
    """Theirs, with the fused AdamW."""
    optimiser = torch.optim.AdamW([each for each in network.parameters() if each.requires_grad], lr=RATE, weight_decay=0.0, fused=True)

    def step() -> float:
        optimiser.zero_grad()
        loss = network(pixel_values=pixels, noise=noise).loss
        loss.backward()
        optimiser.step()
        return loss.item()

    return step
