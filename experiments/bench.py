"""Training steps of aeseg and of PyTorch in alternation, from the same weights on the same batch.

python -m experiments.bench                     all networks, 10 pairs of steps each; needs the extra: pip install -e '.[bench]'
python -m experiments.bench --form=plain        with XLA's own convolutions, pooling and upsampling: what `layers` gains
python -m experiments.bench --loading=camvid_small:unet   what loading adds to the steps of a config (experiments/loading.py)
python -m experiments.bench --record            also appends the rows to experiments/results/bench.jsonl

autoencoder   the reference's, 64-128-256 channels, 256 x 256, batch 4, binary cross-entropy, Adam
unet          64..1024 channels, 128 x 128, batch 4, cross-entropy of 11 classes, Adam
mae           width 192, 224 x 224, batch 16, beside ViTMAE of `transformers` (experiments/bench_mae.py)

A pair is a step of each, one after the other, so that what else the machine does meets both.  The ratio is PyTorch's seconds
over aeseg's: above 1, aeseg is faster.  Before timing, the losses of the first steps must agree.  PyTorch gets what is faster for it
here, the fused Adam, and for convolutions channels_last or contiguous memory (eager), for MAE eager or torch.compile.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from aeseg import tree
from aeseg.models import layers
from aeseg.models.decoders import convolutional
from aeseg.models.encoders import convnet
from aeseg.models.heads import unet
from aeseg.spec import build
from aeseg.types import UserError
from experiments import bench_mae, cli, loading
from experiments.provenance import provenance

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results", "bench.jsonl")
CLASSES = 11
BATCH = 4
SIZES = {"autoencoder": 256, "unet": 128, "mae": 224}
RATE = 1e-3
CHECKED = 3
"""Steps whose losses are compared before timing; they also compile and warm up."""


def run(argv: Sequence[str]) -> int:
    """The entry point; returns the exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        networks=(",".join(SIZES), "which, joined by commas"),
        pairs=(10, "pairs of steps to time"),
        form=("fast", "fast: as aeseg trains; plain: XLA's own forms"),
        size=(0, "side of the images; 0 is the one above"),
        loading=("", "a config: time its steps with and without the loader instead"),
        record=(False, "append the rows to experiments/results/bench.jsonl"),
    )
    names = flags.networks.split(",")
    for name in names:
        if name not in SIZES:
            raise UserError(f"The networks are {', '.join(SIZES)}; got {name!r}. Set --networks to some of these.")
    if flags.form not in ("fast", "plain"):
        raise UserError(f"The forms are fast and plain; got {flags.form!r}. Set --form to one of these.")
    if flags.pairs < 1:
        raise UserError(f"Expected at least one pair of steps; got --pairs={flags.pairs}.")
    if flags.loading:
        row = loading.measured(flags.loading, cli.load_config(flags.loading), flags.pairs) | provenance()
        print(
            f"{flags.loading}: loading adds {100 * row['share']:.1f} % to a step (half of the pairs in {100 * row['low']:.1f} to "
            f"{100 * row['high']:.1f} %); a step takes {row['seconds']:.3f} s with it, {row['seconds_without']:.3f} s without"
        )
        keep([row] if flags.record else [])
        return 0
    torch = imported_torch()
    for name in names:
        row = measured(torch, name, flags.size or SIZES[name], flags.pairs, flags.form)
        print(
            f"{name}: {row['ratio']:.2f}x of PyTorch (half of the pairs in {row['low']:.2f} to {row['high']:.2f}); "
            f"a step takes {row['seconds']:.3f} s, PyTorch's {row['torch_seconds']:.3f} s ({row['torch_format']})"
        )
        keep([row] if flags.record else [])
    return 0


def keep(rows: Sequence[dict[str, Any]]) -> None:
    """Append rows to the results."""
    os.makedirs(os.path.dirname(RESULTS), exist_ok=True)
    with open(RESULTS, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def measured(torch: Any, name: str, size: int, pairs: int, form: str) -> dict[str, Any]:
    """The row of one network: medians, and the quartiles of the ratio."""
    with plain_layers() if form == "plain" else contextlib.nullcontext():
        ours, candidates = bench_mae.steps(torch, size) if name == "mae" else convolutional_steps(torch, name, size)
        losses = [ours() for _ in range(CHECKED)]
    for theirs in candidates.values():
        check(name, losses, [theirs() for _ in range(CHECKED)])
    chosen = min(candidates, key=lambda key: min(seconds(candidates[key]) for _ in range(2)))
    theirs = candidates[chosen]
    candidates.clear()
    times = np.array([(seconds(ours), seconds(theirs)) for _ in range(pairs)])
    low, ratio, high = np.quantile(times[:, 1] / times[:, 0], (0.25, 0.5, 0.75))
    return {
        "network": name,
        "form": form,
        "size": size,
        "batch": bench_mae.BATCH if name == "mae" else BATCH,
        "ratio": round(float(ratio), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
        "seconds": round(float(np.median(times[:, 0])), 4),
        "torch_seconds": round(float(np.median(times[:, 1])), 4),
        "torch_format": chosen,
        "pairs": pairs,
        "loss": losses[-1],
        **provenance(("jax", "flax", "torch", "transformers") if name == "mae" else ("jax", "flax", "torch")),
    }


def convolutional_steps(torch: Any, name: str, size: int) -> tuple[Callable[[], float], dict[str, Callable[[], float]]]:
    """(ours, theirs by memory format) of the autoencoder or U-Net."""
    model = Network(build(convnet.recipe("unet" if name == "unet" else "reference")), reader(name))
    random = np.random.default_rng(0)
    image = random.random((BATCH, size, size, 3), np.float32)
    target = random.integers(0, CLASSES, (BATCH, size, size), np.int32) if name == "unet" else image
    variables = jax.jit(model.init)(jax.random.key(0), image)
    weights = {path: np.array(leaf) for path, leaf in tree.flatten(variables["params"]).items()}
    formats = {each: getattr(torch, each) for each in ("channels_last", "contiguous_format")}
    theirs = {each: torch_step(torch, name, weights, image, target, chosen) for each, chosen in formats.items()}
    return jax_step(model, variables["params"], jnp.asarray(image), jnp.asarray(target)), theirs


class Network(nn.Module):
    """An encoder and what reads its pyramid."""

    encoder: nn.Module
    reader: nn.Module

    @nn.compact
    def __call__(self, image: jax.Array) -> Any:
        return self.reader(self.encoder(image, train=True), train=True)


def reader(name: str) -> nn.Module:
    """The decoder or head of a network."""
    return build(unet.recipe("reference", classes=CLASSES) if name == "unet" else convolutional.recipe("reference"))


def jax_step(model: Network, params: Any, image: jax.Array, target: jax.Array) -> Callable[[], float]:
    """A function that trains one step and returns its loss."""
    optimiser = optax.adam(RATE)

    def loss(params: Any) -> jax.Array:
        value = model.apply({"params": params}, image)
        if isinstance(value, dict):
            return optax.softmax_cross_entropy_with_integer_labels(value[1], target).mean()
        return optax.sigmoid_binary_cross_entropy(value, target).mean()

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


def torch_step(
    torch: Any, name: str, weights: dict[str, np.ndarray], image: np.ndarray, target: np.ndarray, memory_format: Any
) -> Callable[[], float]:
    """The same in PyTorch, from the same weights."""
    functional = torch.nn.functional

    def tensor(array: np.ndarray) -> Any:
        found = torch.tensor(array.transpose(0, 3, 1, 2) if array.ndim == 4 else array)
        return found.contiguous(memory_format=memory_format) if found.dim() == 4 else found

    held = {}
    for path, leaf in weights.items():
        up = path.split("/")[-2].startswith("up")  # ConvTranspose2d holds in, out, height, width
        held[path] = tensor(leaf.transpose(2, 0, 1, 3) if up and leaf.ndim == 4 else leaf.transpose(3, 0, 1, 2) if leaf.ndim == 4 else leaf)
        held[path].requires_grad_()
    image, target = tensor(image), tensor(target.astype(np.int64) if name == "unet" else target)
    optimiser = torch.optim.Adam(held.values(), lr=RATE, fused=True)

    def convolve(features: Any, path: str) -> Any:
        kernel = held[f"{path}/kernel"]
        return functional.conv2d(features, kernel, held[f"{path}/bias"], padding=kernel.shape[-1] // 2)

    def autoencoder(features: Any) -> Any:
        for level in range(3):
            features = functional.max_pool2d(convolve(features, f"encoder/level{level}/convolution0").relu(), 2)
        for place in range(3):
            features = convolve(features, f"reader/convolution{place}").relu()
            features = functional.interpolate(features, scale_factor=2, mode="nearest")
        return convolve(features, "reader/last")

    def two(features: Any, path: str) -> Any:
        return convolve(convolve(features, f"{path}/convolution0").relu(), f"{path}/convolution1").relu()

    def expanded(features: Any) -> Any:
        skips = {}
        for level in range(4):
            skips[2**level] = two(features, f"encoder/level{level}")
            features = functional.max_pool2d(skips[2**level], 2)
        features = two(features, "encoder/bottleneck_level")
        for stride in (8, 4, 2, 1):
            up = f"reader/up{stride}"
            features = functional.conv_transpose2d(features, held[f"{up}/kernel"], held[f"{up}/bias"], stride=2)
            features = two(torch.cat([skips[stride], features], dim=1), f"reader/level{stride}")
        return convolve(features, "reader/logits1")

    def step() -> float:
        optimiser.zero_grad()
        if name == "unet":
            loss = functional.cross_entropy(expanded(image), target)
        else:
            loss = functional.binary_cross_entropy_with_logits(autoencoder(image), target)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


@contextlib.contextmanager
def plain_layers() -> Iterator[None]:
    """Within it, `layers` is traced with the plain forms: what one would write without knowing this CPU."""

    def convolve(image: jax.Array, kernel: jax.Array, stride: int = 1, padding: layers.Padding | None = None) -> jax.Array:
        return lax.conv_general_dilated(image, kernel, (stride, stride), padding or "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def up_convolve(image: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.conv_transpose(image, kernel[::-1, ::-1], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    plain = {
        "convolve": convolve,
        "upsample_convolve": lambda image, kernel: convolve(layers.upsample(image), kernel),
        "up_convolve": up_convolve,
        "max_pool": lambda image: nn.max_pool(image, (2, 2), (2, 2)),
    }
    fast = {name: getattr(layers, name) for name in plain}
    try:
        for name, function in plain.items():
            setattr(layers, name, function)
        yield
    finally:
        for name, function in fast.items():
            setattr(layers, name, function)


def check(name: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
    """Raise when the two do not do the same arithmetic."""
    if not np.allclose(ours, theirs, rtol=2e-3):
        raise AssertionError(f"{name}: the losses of the first steps differ: {ours} and, in PyTorch, {theirs}.")


def seconds(step: Callable[[], float]) -> float:
    """How long one step takes."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def imported_torch() -> Any:
    """PyTorch, which only this comparison needs."""
    try:
        import torch
    except ImportError:
        raise UserError("The comparison needs PyTorch, which is not installed. Install it: pip install -e '.[bench]'.") from None
    if jax.default_backend() != "cpu":
        raise UserError(f"The comparison is of CPUs; JAX runs on {jax.default_backend()}. Set JAX_PLATFORMS=cpu.")
    return torch


if __name__ == "__main__":
    cli.main(run)
