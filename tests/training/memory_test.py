"""aeseg/training/memory.py: freed memory is reused without returning it to the system."""

import platform
import subprocess
import sys

import numpy as np
import pytest

from aeseg.training import memory

FAULTS = """
import resource, sys
from aeseg.training import memory
if sys.argv[1] == "kept":
    memory.share_heap()
    memory.keep_freed()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"x" * 2**26  # larger than what glibc keeps by itself
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


HOLES = """
from aeseg.training import memory
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS:")) * 1024
memory.share_heap()
memory.keep_freed()
blocks = [b"x" * 2**20 for _ in range(64)]
kept = blocks[1::2]
before = resident()
del blocks
held = resident()
memory.trim()
print(before - held, before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory")
def test_trimming_returns_freed_memory_between_blocks_in_use():
    answer = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True).stdout
    kept, trimmed = map(int, answer.split())
    assert kept < 2**20
    assert trimmed > 30 * 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives each large buffer back to the system")
def test_freed_memory_is_reused_without_new_pages():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("kept", "given back")
    }
    assert faults["kept"] < 100 < faults["given back"]


def test_the_peak_counts_freed_memory_and_not_that_of_the_starting_process():
    ballast = np.ones(2**26)  # 0.5 GB
    del ballast
    assert memory.peak() > 5e8
    code = "from aeseg.training import memory; print(memory.peak())"
    child = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    assert int(child.stdout) < memory.peak() - 1e8
