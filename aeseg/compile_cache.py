"""A persistent cache of compiled programs, in the user's cache folder, that a change of machine or a damaged file cannot harm.

JAX keeps the files.  A compiled program fits one version of XLA and one kind of CPU, so each pair has a folder of its own.  JAX neither
checks its files before it runs them nor replaces a damaged one, so `enable` removes those that fail zlib's checksum.
"""

import hashlib
import os
import platform
import zlib
from collections.abc import Iterator

import jax
import jaxlib

SECONDS = 0.5
"""Programs that compile in less are not kept."""

LIMIT = 2**30
"""Bytes of a folder; `enable` removes the oldest files beyond."""


def enable(parent: str = "") -> str:
    """Keep compiled programs below `parent`, or $XDG_CACHE_HOME/aeseg/xla; return the folder.

    A folder given to JAX (`JAX_COMPILATION_CACHE_DIR`) is left as it is.  If the cache cannot be written, JAX warns and compiles.
    """
    if given := getattr(jax.config, "jax_compilation_cache_dir", None):
        return str(given)
    folder = os.path.join(parent or os.path.join(home(), "xla"), fingerprint())
    clean(folder)
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SECONDS)
    return folder


def home() -> str:
    """Return aeseg's part of the user's cache folder: $XDG_CACHE_HOME/aeseg."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "aeseg")


def fingerprint(features: str = "") -> str:
    """Return a name for the versions of jax and jaxlib and the machine's instruction set (`features`, by default this CPU's)."""
    parts = (jax.__version__, jaxlib.__version__, platform.system(), platform.machine(), features or cpu_features())  # type: ignore[attr-defined]
    return f"{jaxlib.__version__}-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}"  # type: ignore[attr-defined]


def cpu_features() -> str:
    """Return the instruction sets that the CPU names on Linux, else its name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return platform.processor()
    cpus = {" ".join(sorted(line.partition(":")[2].split())) for line in lines if line.lower().startswith(("flags", "features"))}
    return " ".join(sorted(cpus)) or platform.processor()


def clean(folder: str, limit: int = LIMIT) -> None:
    """Remove the files of a folder that are damaged, and the oldest of those that together exceed `limit` bytes."""
    total = 0
    for path in sorted(_entries(folder), key=_written, reverse=True):
        try:
            total += os.path.getsize(path)
            if total > limit or not _intact(path):
                os.remove(path)
        except OSError:  # another process removed it, or it is not ours to remove
            continue


def _entries(folder: str) -> Iterator[str]:
    if os.path.isdir(folder):
        yield from (entry.path for entry in os.scandir(folder) if entry.name.endswith("-cache"))


def _written(path: str) -> float:
    try:
        return os.path.getmtime(path)
    except OSError:
        return 0.0


def _intact(path: str) -> bool:
    """Return whether a file passes zlib's checksum; files of other compressors have none, and fail."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        zlib.decompress(content)
    except zlib.error:
        return False
    return True
