"""The smallest run as a separate program, for tests that end processes: python -m tests.training.program WORKDIR [name=value ...].

Like an entry point, it handles signals, locks, resumes, trains and returns an exit code.
"""

import itertools
import os
import sys
import time

import jax

from aeseg.training import cluster, lock, mesh, signals
from aeseg.training.checkpoints import Checkpoints
from aeseg.training.log import Log
from aeseg.types import UserError
from tests.training import cases


def train(workdir, options):
    """Train; return the exit code."""
    rank, ranks = int(options.get("rank", 0)), int(options.get("ranks", 1))
    if "slurm" in options:
        rank, ranks = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"])
        cluster.join(lost_after=int(options.get("lost_after", 30)), start_within=int(options.get("within", 60)))
    elif ranks > 1:
        address = {"coordinator_address": f"127.0.0.1:{options['port']}", "num_processes": ranks, "process_id": rank}
        cluster.join(lost_after=int(options.get("lost_after", 30)), start_within=int(options.get("within", 60)), **address)
    pause = float(options.get("pause", 0))

    def batches(start):
        for step, batch in zip(itertools.count(start), cases.batches(start), strict=False):
            print(f"batch {step}", flush=True)
            time.sleep(60 if step == int(options.get("pause_at", -1)) else pause)
            rows = 8 // ranks
            yield {name: array[rank * rows : (rank + 1) * rows] for name, array in batch.items()}

    def evaluate(state):
        print("evaluating", flush=True)
        time.sleep(float(options.get("evaluation", 0)))
        return {"score": 1.0}

    every = {"evaluate_every": int(options.get("evaluate_every", 1000))}
    every["log_every"] = int(options.get("log_every", 2))
    run = cases.run(
        int(options.get("steps", 1000)),
        batches=batches,
        save_every=int(options.get("save_every", 1000)),
        mesh=mesh.create(int(options.get("fsdp", 1))),
        ema=float(options.get("ema", 0)),
        **every,
    )
    with lock.held(workdir):
        state = cases.initial_state(run)
        kept = Checkpoints(os.path.join(workdir, "checkpoints"))
        log = Log(workdir, run.steps, writes=jax.process_index() == 0)
        state = kept.restore(state, log.say) or state
        outcome = cases.trained(run, state, kept, log, evaluate)
        kept.close()
        log.close()
        print(f"ended at {int(outcome.state.step)}", flush=True)
        return 0 if outcome.finished else 128 + outcome.signal


def main(argv):
    """Run; UserError prints a sentence and gives exit code 2."""
    with signals.listening():
        try:
            code = train(argv[0], dict(word.split("=", 1) for word in argv[1:]))
        except UserError as error:
            print(error, file=sys.stderr, flush=True)
            code = 2
        except signals.Stopped as stop:
            code = stop.code
        if code > 128:
            cluster.part()
            signals.leave(code)
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
