"""Provenance of a measurement, stored with every result; `python -m experiments.machine.provenance` prints it."""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence

HERE = os.path.dirname(os.path.abspath(__file__))


def provenance(packages: Sequence[str] = ("jax", "flax")) -> dict[str, object]:
    """Return the device, the commit (with + if the code differs from it) and the packages' versions."""
    import jax

    from aeseg.models import onednn

    devices = jax.devices()
    kind = processor() if devices[0].platform == "cpu" else devices[0].device_kind
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "device": f"{len(devices)} x {kind}, {cores} cores",
        "commit": commit(),
        "versions": {name: importlib.metadata.version(name) for name in (*packages, *([onednn.PACKAGE] if onednn.enabled() else []))},
    }


def commit() -> str:
    """Return this code's short commit, with + if code (not results) was changed, added or removed since.

    For a copy without history, the environment variable AESEG_COMMIT gives the commit.
    """
    if given := os.environ.get("AESEG_COMMIT"):
        return given
    head = _git("rev-parse", "--short", "HEAD").strip()
    changed = [line[3:] for line in _git("status", "--porcelain", "-uall", "--no-renames", "--", "../../aeseg", "..").splitlines()]
    code = [path for path in changed if not path.startswith("experiments/results/")]
    return (head or "unknown") + ("+" if code else "")


def processor() -> str:
    """Return the processor's name and its widest vector instructions."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = dict(line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in lines.items()}
        vectors = next((name for name in ("avx512f", "avx2") if name in fields.get("flags", "").split()), "")
        return f"{fields['model name']} {vectors}".strip()
    except (OSError, KeyError, ValueError):
        return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", HERE, *arguments], capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    from aeseg.models import onednn

    onednn.enable()  # as the commands do whose provenance it is
    print(json.dumps(provenance()))
