"""aeseg/compile_cache.py: programs are compiled once per kind of machine, and damaged files are compiled again."""

import os
import subprocess
import sys
import zlib

import pytest

from aeseg import compile_cache

PROGRAM = """
import sys
import jax
import jax.numpy as jnp
from aeseg import compile_cache
compile_cache.SECONDS = 0
compile_cache.enable(sys.argv[1])
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
print(float(jax.jit(lambda x: jnp.sum(jnp.sin(x) ** 2))(jnp.arange(7.0))), "/jax/compilation_cache/cache_hits" in hits)
"""


def run(folder):
    """Return (the number that a process computes, whether a program came from the cache); its warnings are errors."""
    environment = {name: value for name, value in os.environ.items() if name not in ("JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS")}
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(folder)]
    number, hit = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    return number, hit == "True"


def truncated(content):
    return content[: len(content) // 2]


def flipped(content):
    return content[:-20] + bytes([content[-20] ^ 4]) + content[-19:]


def test_a_second_process_compiles_nothing_and_replaces_damaged_files(tmp_path):
    number, hit = run(tmp_path)
    assert not hit
    assert run(tmp_path) == (number, True)
    for damage in (truncated, flipped, lambda content: b""):
        files = list(tmp_path.glob("*/*-cache"))
        assert files
        for file in files:
            file.write_bytes(damage(file.read_bytes()))
        assert run(tmp_path) == (number, False)
        assert run(tmp_path) == (number, True)


def test_another_cpu_or_version_has_its_own_folder(monkeypatch):
    here = compile_cache.fingerprint()
    assert here == compile_cache.fingerprint(compile_cache.cpu_features())
    assert here != compile_cache.fingerprint("sse2 avx")
    monkeypatch.setattr(compile_cache.jaxlib, "__version__", "0.0.1")
    assert here != compile_cache.fingerprint()


@pytest.mark.parametrize(("limit", "kept"), [(2, {"new-cache", "old-cache"}), (1, {"new-cache"}), (0, set())])
def test_the_oldest_files_beyond_the_limit_are_removed(tmp_path, limit, kept):
    for age, name in enumerate(("new-cache", "old-cache")):
        (tmp_path / name).write_bytes(zlib.compress(b"program"))
        os.utime(tmp_path / name, (0, 1000 - age))
    compile_cache.clean(str(tmp_path), limit * len(zlib.compress(b"program")))
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_other_files_in_the_folder_are_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    compile_cache.clean(str(tmp_path))
    compile_cache.clean(str(tmp_path / "missing"))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
