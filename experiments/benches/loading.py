"""Cost of data loading: time the steps of a run with the loader and with one fixed batch, in alternation.

`python -m experiments.bench --loading=camvid_small:unet` calls this.
"""

import time
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from aeseg.spec import build
from aeseg.training import mesh as meshes
from aeseg.training import state as states
from aeseg.training import step


def measured(name: str, config: ConfigDict, pairs: int, steps: int = 20) -> dict[str, Any]:
    """Return median and quartiles of the fraction of the step time that loading adds, over `pairs` of `steps` steps each.

    The cache is filled first, as after a run's first epoch.  The loader's threads compete with XLA, so the cost of loading is how much
    longer the same steps take, not how long the host waits.
    """
    run = build(config)
    run.check()
    advance = step.train_step(run.method, run.optimiser, run.mesh, run.microbatches, run.seed, run.ema)
    state = states.jitted(run.start, run.mesh)()
    for index in range(len(run.training)):
        run.training[index]
    fixed, batches = run.loader[0], run.batches(0)

    def seconds(loads: bool) -> float:
        nonlocal state
        began = time.perf_counter()
        for _ in range(steps):
            state, _ = advance(state, meshes.place(run.mesh, next(batches) if loads else fixed))
        jax.block_until_ready(state)
        return time.perf_counter() - began

    seconds(True)  # compiles, and fills the queue
    times = np.array([(seconds(True), seconds(False)) for _ in range(pairs)]) / steps
    low, added, high = np.quantile(times[:, 0] / times[:, 1] - 1, (0.25, 0.5, 0.75))
    return {
        "loading": name,
        "share": round(float(added), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "seconds": round(float(np.median(times[:, 0])), 4),
        "seconds_without": round(float(np.median(times[:, 1])), 4),
        "pairs": pairs,
    }
