"""Benchmark training steps of aeseg and of PyTorch in alternation, from the same weights on the same batch.

python -m experiments.bench                     all networks, 10 pairs of steps each; needs the extra: pip install -e '.[bench]'
python -m experiments.bench --form=plain        with XLA's own convolutions, pooling and upsampling, to measure the gain of `layers`
python -m experiments.bench --loading=camvid_small:unet   time that loading adds to a config's steps (experiments/benches/loading.py)
python -m experiments.bench --record            also appends the rows to experiments/results/bench.jsonl

denoiser      the default network of `pretrain`, 64 x 64, batch 16; segmenter: of `segment`, batch 8 (experiments/benches/small.py)
autoencoder   the reference's, 64-128-256 channels, 256 x 256, batch 4, binary cross-entropy, Adam
unet          64 to 1024 channels, 128 x 128, batch 4, cross-entropy of 11 classes, Adam
mae           width 192, 224 x 224, batch 16, against ViTMAE of `transformers` (experiments/benches/mae.py)

A pair is one step of each, one after the other, so that other load on the machine affects both.  The ratio is PyTorch's seconds over
aeseg's: above 1, aeseg is faster.  Before timing, the losses of the first steps must agree.  PyTorch gets its fastest settings: fused
Adam; for convolutions, channels_last or contiguous memory (eager); for the small networks and MAE, also torch.compile.
"""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax

from aeseg import jsonlines
from aeseg.types import UserError

from .benches import convolutional, loading, mae, small
from .console import cli
from .machine.provenance import provenance

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results", "bench.jsonl")
SIZES = {"denoiser": 64, "segmenter": 64, "autoencoder": 256, "unet": 128, "mae": 224}
CHECKED = 3
"""Number of steps whose losses are compared before timing; they also compile and warm up."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        networks=(",".join(SIZES), "networks, joined by commas"),
        pairs=(10, "pairs of steps to time"),
        form=("fast", "fast: as aeseg trains; plain: XLA's own operations"),
        size=(0, "side of the images; 0: the size above"),
        loading=("", "config whose steps are timed with and without the loader instead"),
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
            f"{flags.loading}: loading adds {100 * row['share']:.1f} % to a step (quartiles {100 * row['low']:.1f} to "
            f"{100 * row['high']:.1f} %); a step takes {row['seconds']:.3f} s with loading, {row['seconds_without']:.3f} s without"
        )
        keep([row] if flags.record else [])
        return 0
    torch = imported_torch()
    for name in names:
        row = measured(torch, name, flags.size or SIZES[name], flags.pairs, flags.form)
        print(
            f"{name}: {row['ratio']:.2f}x as fast as PyTorch (quartiles {row['low']:.2f} to {row['high']:.2f}); "
            f"a step takes {row['seconds']:.3f} s, PyTorch's {row['torch_seconds']:.3f} s ({row['torch_format']})"
        )
        keep([row] if flags.record else [])
    return 0


def keep(rows: Sequence[dict[str, Any]]) -> None:
    """Append rows to the results."""
    for row in rows:
        jsonlines.write(RESULTS, row)


def measured(torch: Any, name: str, size: int, pairs: int, form: str) -> dict[str, Any]:
    """Measure one network; return its row of medians, with the quartiles of the ratio."""
    module = mae if name == "mae" else small if name in small.BATCHES else convolutional
    with convolutional.plain_layers() if form == "plain" else contextlib.nullcontext():
        loss, params, twins = module.networks(torch, name, size)
        ours = jax_step(loss, params, module.RATE)
        losses = [ours() for _ in range(CHECKED)]
    candidates = {each: torch_step(torch, *theirs, module.RATE) for each, theirs in twins.items()}
    for theirs in candidates.values():
        check(name, losses, [theirs() for _ in range(CHECKED)])
    chosen = min(candidates, key=lambda key: min(seconds(candidates[key]) for _ in range(2)))
    theirs = candidates[chosen]
    candidates.clear()
    twins.clear()
    times = np.array([(seconds(ours), seconds(theirs)) for _ in range(pairs)])
    low, ratio, high = np.quantile(times[:, 1] / times[:, 0], (0.25, 0.5, 0.75))
    return {
        "network": name,
        "form": form,
        "size": size,
        "batch": small.BATCHES.get(name) or module.BATCH,
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


def jax_step(loss: Callable[[Any], jax.Array], params: Any, rate: float) -> Callable[[], float]:
    """Return a function that trains one step with Adam and returns its loss."""
    optimiser = optax.adam(rate)

    def update(params: Any, state: Any) -> tuple[Any, Any, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(params)
        change, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, change), state, value

    jitted = jax.jit(update, donate_argnums=(0, 1))
    carried = [params, optimiser.init(params)]

    def step() -> float:
        *carried[:], value = jitted(*carried)
        jax.block_until_ready(carried)
        return float(value)

    return step


def torch_step(torch: Any, loss: Callable[[], Any], parameters: Sequence[Any], rate: float) -> Callable[[], float]:
    """Return a function that trains one step in PyTorch with fused Adam and returns its loss."""
    optimiser = torch.optim.Adam(parameters, lr=rate, fused=True)

    def step() -> float:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        optimiser.step()
        return value.item()

    return step


def check(name: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
    """Raise AssertionError if the losses differ."""
    if not np.allclose(ours, theirs, rtol=2e-3):
        raise AssertionError(f"{name}: the losses of the first steps differ: {ours}, and in PyTorch {theirs}.")


def seconds(step: Callable[[], float]) -> float:
    """Return the seconds of one step."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def imported_torch() -> Any:
    """Return PyTorch, which only this command needs."""
    try:
        import torch
    except ImportError:
        raise UserError("The comparison needs PyTorch, which is not installed. Install it: pip install -e '.[bench]'.") from None
    if jax.default_backend() != "cpu":
        raise UserError(f"Expected JAX on the CPU, where both are compared; it runs on {jax.default_backend()}. Set JAX_PLATFORMS=cpu.")
    return torch


if __name__ == "__main__":
    cli.main(run)
