"""experiments/jsonlines.py: no line is lost or mixed with another."""

import subprocess
import sys

from experiments import jsonlines

APPEND = """
import sys
from experiments import jsonlines
for number in range(200):
    jsonlines.write(sys.argv[1], {"writer": sys.argv[2], "number": number, "filling": "x" * 5_000})
"""


def test_processes_that_append_at_once_lose_and_mix_nothing(tmp_path):
    path = str(tmp_path / "results" / "table.jsonl")
    assert jsonlines.read(path) == []
    writers = [subprocess.Popen([sys.executable, "-c", APPEND, path, name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    found = jsonlines.read(path)
    for name in "ab":
        assert [line["number"] for line in found if line["writer"] == name] == list(range(200))
