"""Benchmark training steps of aeseg and of PyTorch in alternation, from the same weights on the same batch.

python -m experiments.bench                     all networks, 10 pairs each; needs two extras: pip install -e '.[bench,cpu]'
python -m experiments.bench --form=xla          without oneDNN (aeseg/models/onednn.py); plain: with XLA's own convolutions, pooling and
                                                upsampling, to measure the gain of `layers`
python -m experiments.bench --instructions=avx2   on a CPU with AVX-512: both sides use AVX2 alone, as on a smaller CPU
python -m experiments.bench --loading=camvid_small:unet   time that loading adds to a config's steps (experiments/benches/loading.py)
python -m experiments.bench --start=pretrain,segment   time until the first step, without and with compiled programs in the cache
python -m experiments.bench --record            also appends the rows to experiments/results/bench.jsonl

denoiser      the default network of `pretrain`, 64 x 64, batch 16; segmenter: of `segment`, batch 8 (experiments/benches/small.py)
autoencoder   the reference's, 64-128-256 channels, 256 x 256, batch 4, binary cross-entropy, Adam
unet          64 to 1024 channels, 128 x 128, batch 4, cross-entropy of 11 classes, Adam
segnet        SegNet-Basic, 180 x 240, batch 4; densenet: FC-DenseNet56, 224 x 224, batch 3 (experiments/benches/published.py)
mae           width 192, 224 x 224, batch 16, against ViTMAE of `transformers` (experiments/benches/mae.py)
fcmae         ConvNeXt V2 atto, 224 x 224, batch 8; spark: ResNet-50, likewise (experiments/benches/sparse.py)
*-predict-*   prediction of 360 x 480 in sliding windows, 1 or 8 at a time (experiments/benches/inference.py)

A pair is one stretch of each, one after the other, so that other load on the machine affects both. A stretch is one step, or as many as
last two seconds: training does not pause between steps, and the first steps of a small network after a pause are slower. The ratio is
PyTorch's seconds over aeseg's: above 1, aeseg is faster. Before timing, the losses of the first steps must agree. Each side has a process
of its own: aeseg's reuses freed memory as its commands do (aeseg/training/memory.py), PyTorch's is as it comes. PyTorch gets the fastest
of its settings: fused Adam (AdamW and clipping in the first two); channels_last or contiguous memory; and torch.compile, except for
autoencoder, unet, fcmae and spark. Both call oneDNN: PyTorch contains it, the extra `cpu` brings it to aeseg. --memory then runs each
side in a process of its own, and measures that process's largest resident memory, compilation included.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from aeseg.models import onednn
from aeseg.types import UserError

from .benches import loading, sides, starting
from .benches.sides import CHECKED, MODULES, Timed
from .console import cli
from .machine.provenance import provenance
from .recorded import measurements

FORMS = ("fast", "xla", "plain")

STRETCH = 2.0
"""Least number of seconds that a side is timed without a pause."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        networks=(",".join(MODULES), "networks, joined by commas"),
        pairs=(10, "pairs of stretches to time, or with --start number of cold and warm starts"),
        form=("fast", "fast: as aeseg trains; xla: without oneDNN; plain: XLA's own operations"),
        instructions=("", "avx2: neither side uses later instructions"),
        size=(0, "height of the images; 0: the size above"),
        memory=(False, "also measure the memory of each side"),
        loading=("", "config whose steps are timed with and without the loader instead"),
        start=("", "commands whose time until the first step is measured instead: pretrain,segment"),
        record=(False, "append the rows to experiments/results/bench.jsonl"),
    )
    names = flags.networks.split(",")
    for name in names:
        if name not in MODULES:
            raise UserError(f"The networks are {', '.join(MODULES)}; got {name!r}. Set --networks to some of these.")
    if flags.form not in FORMS:
        raise UserError(f"The forms are {', '.join(FORMS)}; got {flags.form!r}. Set --form to one of these.")
    if flags.pairs < 1:
        raise UserError(f"Expected at least one pair of steps; got --pairs={flags.pairs}.")
    if flags.instructions not in ("", "avx2"):
        raise UserError(f"Expected --instructions=avx2 or none; got {flags.instructions!r}.")
    limit = {"instructions": flags.instructions} if flags.instructions else {}
    with sides.limited() if limit else contextlib.nullcontext():
        for row in _rows(flags, names):
            if flags.record:
                measurements.append("bench", row | limit)
    return 0


def _rows(flags: Any, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Measure what the flags name; print and yield a row of each."""
    if flags.form == "fast":
        onednn.enable()  # the rows name its version
    if flags.loading:
        row = loading.measured(flags.loading, cli.load_config(flags.loading), flags.pairs) | provenance()
        print(
            f"{flags.loading}: loading adds {100 * row['share']:.1f} % to a step (quartiles {100 * row['low']:.1f} to "
            f"{100 * row['high']:.1f} %); a step takes {row['seconds']:.3f} s with loading, {row['seconds_without']:.3f} s without"
        )
        yield row
        return
    if flags.start:
        yield from _started(flags)
        return
    sides.imported_torch()
    for name in names:
        size = flags.size or MODULES[name].NETWORKS[name][0]
        with sides.apart(name, size, flags.form) as both:
            row = measured(name, size, flags.pairs, flags.form, *both)
        if flags.memory:
            row |= {key: sides.peak_of(name, size, flags.form, side) for key, side in (("gb", ""), ("torch_gb", row["torch_format"]))}
        print(
            f"{name}: {row['ratio']:.2f}x as fast as PyTorch (quartiles {row['low']:.2f} to {row['high']:.2f}); "
            f"a step takes {row['seconds']:.3f} s, PyTorch's {row['torch_seconds']:.3f} s ({row['torch_format']})"
            + (f"; {row['gb']:.2f} GB, PyTorch {row['torch_gb']:.2f} GB" if flags.memory else "")
        )
        yield row


def _started(flags: Any) -> Iterator[dict[str, Any]]:
    """Measure commands until their first step; print and yield a row of each."""
    for command in flags.start.split(","):
        if command not in starting.COMMANDS:
            raise UserError(f"Expected --start to name some of {', '.join(starting.COMMANDS)}; got {command!r}.")
        row = starting.measured(command, flags.pairs) | provenance()
        print(f"{command}: the first step ends after {row['cold']:.1f} s, and after {row['warm']:.1f} s with its programs in the cache")
        yield row


def measured(name: str, size: int, pairs: int, form: str, ours: Timed, candidates: dict[str, Timed]) -> dict[str, Any]:
    """Measure one network; return its row of medians, with the quartiles of the ratio.  For `ours` and `candidates` see `sides.apart`."""
    losses = [ours(1)[0] for _ in range(CHECKED)]
    for theirs in candidates.values():
        check(name, losses, [theirs(1)[0] for _ in range(CHECKED)])
    count = stretch(ours(1)[1])
    chosen = min(candidates, key=lambda key: min(candidates[key](count)[1] for _ in range(2)))
    times = np.array([(ours(count)[1], candidates[chosen](count)[1]) for _ in range(pairs)])
    low, ratio, high = np.quantile(times[:, 1] / times[:, 0], (0.25, 0.5, 0.75))
    return {
        "network": name,
        "form": form,
        "size": size,
        "batch": MODULES[name].NETWORKS[name][1],
        "ratio": round(float(ratio), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
        "seconds": round(float(np.median(times[:, 0])), 4),
        "torch_seconds": round(float(np.median(times[:, 1])), 4),
        "torch_format": chosen,
        "pairs": pairs,
        "stretch": count,
        "loss": losses[-1],
        **provenance(("jax", "flax", "torch", "transformers") if name.startswith(("mae", "segformer")) else ("jax", "flax", "torch")),
    }


def check(name: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
    """Raise AssertionError if the losses differ."""
    if not np.allclose(ours, theirs, rtol=2e-3):
        raise AssertionError(f"{name}: the losses of the first steps differ: {ours}, and in PyTorch {theirs}.")


def stretch(step_seconds: float) -> int:
    """Return the number of steps of a stretch, at least one."""
    return max(1, math.ceil(STRETCH / step_seconds))


if __name__ == "__main__":
    cli.main(run)
