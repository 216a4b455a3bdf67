"""The reference example in torch: the same network, weights, batches, loss and Adam, to compare losses with."""

import jax
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from aeseg.runs import programs, scores
from aeseg.training import mesh as meshes
from aeseg.types import UserError


def network(params) -> nn.Sequential:
    """The example's autoencoder, without its last sigmoid, with our weights (kernels: height, width, in, out)."""
    layers = []
    for level in sorted(params["encoder"]):
        layers += [_convolution(params["encoder"][level]["convolution0"]), nn.ReLU(), nn.MaxPool2d(2)]
    decoder = params["decoder"]
    for index, name in enumerate(sorted(name for name in decoder if name != "last")):
        layers += [*([nn.Upsample(scale_factor=2)] if index else []), _convolution(decoder[name]), nn.ReLU()]
    return nn.Sequential(*layers, nn.Upsample(scale_factor=2), _convolution(decoder["last"]))


def _convolution(params) -> nn.Conv2d:
    kernel = np.array(params["kernel"]).transpose(3, 2, 0, 1)
    layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[2], padding="same")
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(kernel))
        layer.bias.copy_(torch.from_numpy(np.array(params["bias"])))
    return layer


def losses(run, steps):
    """Validation losses at the start and after so many steps: ((ours, ours), (torch's, torch's)), from the same weights and batches."""
    alone = programs.Alone()
    state, step, evaluate = alone.initial(run), alone.step(run), scores.validation(run)
    images = np.stack([run.validation[index]["image"] for index in range(len(run.validation))])
    theirs = network(jax.device_get(state.params))
    adam = torch.optim.Adam(theirs.parameters(), lr=float(run.optimiser.learning_rate(0)))
    first = evaluate(state)["loss"], _loss(theirs, images).item()
    for batch, _ in zip(run.batches(0), range(steps), strict=False):
        if not batch["valid"].all():
            raise UserError("Expected complete batches.")
        state, _ = step(state, meshes.place(run.mesh, batch))
        adam.zero_grad()
        _loss(theirs, batch["image"]).backward()
        adam.step()
    last = evaluate(state)["loss"], _loss(theirs, images).item()
    return tuple(zip(first, last, strict=True))


def _loss(module: nn.Module, images: np.ndarray) -> torch.Tensor:
    target = torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)
    return functional.binary_cross_entropy_with_logits(module(target), target)
