"""Time until the first step: from the start of a command to the end of its first training step, without and with compiled programs.

`python -m experiments.bench --start=pretrain,segment` calls this.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from aeseg.types import UserError

from .. import module

COMMANDS = ("pretrain", "segment")


def measured(command: str, times: int, flags: Sequence[str] = ()) -> dict[str, Any]:
    """Return the median seconds of `times` starts of a command with an empty cache (`cold`), and again after each (`warm`).

    The command has its default config and these `flags`.
    """
    found = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            found.append([seconds(command, os.path.join(folder, name), folder, flags) for name in ("cold", "warm")])
    cold, warm = np.median(found, axis=0)
    return {"start": command, "cold": round(float(cold), 1), "warm": round(float(warm), 1), "times": times}


def seconds(command: str, workdir: str, cache: str, flags: Sequence[str]) -> float:
    """Return the seconds until the command logs its first step; its compiled programs are kept below `cache`."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    line = [sys.executable, "-m", module(command), f"--workdir={workdir}", "--config.steps=3", "--config.log_every=1", *flags]
    began, lines = time.perf_counter(), []
    with subprocess.Popen(
        line, env={**environment, "XDG_CACHE_HOME": cache}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for text in process.stderr:
            lines.append(text)
            if re.match(r"step 1/3\b", text):
                found = time.perf_counter() - began
                process.terminate()
                process.communicate()
                return found
    raise UserError(f"{command} logged no first step. It wrote:\n{''.join(lines)}")
