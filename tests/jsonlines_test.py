"""aeseg/jsonlines.py: no line is lost or mixed with another line."""

import subprocess
import sys

import pytest

from aeseg import jsonlines
from aeseg.types import UserError

APPEND = """
import sys
from aeseg import jsonlines
for number in range(200):
    jsonlines.write(sys.argv[1], {"writer": sys.argv[2], "number": number, "filling": "x" * 5_000})
"""


def test_processes_that_append_concurrently_lose_and_mix_nothing(tmp_path):
    path = str(tmp_path / "results" / "table.jsonl")
    assert jsonlines.read(path) == []
    writers = [subprocess.Popen([sys.executable, "-c", APPEND, path, name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    found = jsonlines.read(path)
    for name in "ab":
        assert [line["number"] for line in found if line["writer"] == name] == list(range(200))


FULL = """
import resource, signal, sys
from aeseg.types import UserError
from aeseg import jsonlines
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
jsonlines.write(sys.argv[1], {"number": 0})
resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))
try:
    jsonlines.write(sys.argv[1], {"number": 1, "filling": "x" * 100})
except UserError as error:
    print(error)
jsonlines.write(sys.argv[1], {"number": 2})
"""


def test_a_line_that_does_not_fit_the_disk_is_reported_and_leaves_the_file_intact(tmp_path):
    path = str(tmp_path / "table.jsonl")
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Cannot write to {path}: ")
    assert jsonlines.read(path) == [{"number": 0}, {"number": 2}]


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "table.jsonl").write_text('{"number": 0}\n{"num\n')
    with pytest.raises(UserError, match=r"Line 2 of .*table\.jsonl is not JSON"):
        jsonlines.read(str(tmp_path / "table.jsonl"))
