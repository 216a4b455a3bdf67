"""aeseg/training/log.py: each step is logged once, and damaged files are repaired or moved aside with a message."""

import json
import os
import resource
import signal
import subprocess
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aeseg.training.log import Log
from aeseg.types import UserError


def rows_of(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def again(workdir, step):
    """Return the log of a run that resumes after a step."""
    log = Log(str(workdir), 10, start=step)
    log.rewind(step)
    return log


def first(workdir, steps=(2, 4, 6)):
    log = again(workdir, 0)
    for step in steps:
        log.write(step, {"loss": 1.0 / step})
    log.close()


def curve(workdir):
    events = EventAccumulator(str(workdir / "events"))
    events.Reload()
    return [(point.step, round(point.value, 3)) for point in events.Scalars("loss")]


def test_a_run_from_an_older_checkpoint_logs_each_step_once(tmp_path):
    first(tmp_path)
    log = again(tmp_path, 4)
    log.write(6, {"loss": 9.0})
    log.close()
    assert [(row["step"], row["loss"]) for row in rows_of(tmp_path)] == [(2, 0.5), (4, 0.25), (6, 9.0)]
    assert curve(tmp_path) == [(2, 0.5), (4, 0.25), (6, 9.0)]  # as TensorBoard reads it


def test_a_log_does_not_load_torch_but_its_process_can(tmp_path):
    """tensorboardX loads an installed torch: 0.15 GB of memory that no run needs."""
    program = f"""
import sys
from aeseg.training.log import Log
log = Log({str(tmp_path)!r}, 10)
log.write(1, {{"loss": 0.5}})
log.close()
assert not [name for name in sys.modules if name.split(".")[0] == "torch"]
import torch
torch.zeros(3)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert curve(tmp_path) == [(1, 0.5)]


DAMAGE = (
    b"garbage\n",
    b"\0" * 4096,
    b"3\n",
    b"[]\n",
    b'{"loss": 1}\n',
    b'{"step": "2"}\n',
    b'{"step": true}\n',
    b'{"step": 6, "l',
    b"\xff\n",
)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_metrics_file_keeps_its_readable_lines_and_moves_the_rest_aside(tmp_path, capsys, damage):
    first(tmp_path)
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(damage)
    log = again(tmp_path, 6)
    log.write(8, {"loss": 1.0})
    log.close()
    assert [row["step"] for row in rows_of(tmp_path)] == [2, 4, 6, 8]
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes().strip() == damage.strip()
    assert "Moved to" in capsys.readouterr().err


def test_a_last_line_without_its_end_is_kept(tmp_path, capsys):
    first(tmp_path)
    os.truncate(tmp_path / "metrics.jsonl", os.path.getsize(tmp_path / "metrics.jsonl") - 1)
    log = again(tmp_path, 6)
    log.write(8, {"loss": 1.0})
    log.close()
    assert [row["step"] for row in rows_of(tmp_path)] == [2, 4, 6, 8]
    assert "Moved" not in capsys.readouterr().err


def test_folders_and_files_in_the_way_are_moved_aside(tmp_path, capsys):
    (tmp_path / "metrics.jsonl").mkdir()
    for name in ("events", "pictures"):
        (tmp_path / name).write_text("mine")
    first(tmp_path)
    assert [row["step"] for row in rows_of(tmp_path)] == [2, 4, 6]
    assert (tmp_path / "events.damaged").read_text() == (tmp_path / "pictures.damaged").read_text() == "mine"
    assert (tmp_path / "metrics.jsonl.damaged").is_dir()
    assert capsys.readouterr().err.count("Moved to") == 3


def test_a_pipe_in_the_way_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    first(tmp_path)
    assert len(rows_of(tmp_path)) == 3


@pytest.mark.parametrize("file", ["metrics", "events"])
def test_a_full_disk_gives_one_sentence_and_leaves_no_partial_row(tmp_path, file):
    log = Log(str(tmp_path), 10)
    for step in (2, 4, 6, 8):
        log.write(step, {"loss": 1.0})
    before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limited = tmp_path / "metrics.jsonl" if file == "metrics" else next((tmp_path / "events").iterdir())
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limited.stat().st_size + 20, before[0][1]))
        with pytest.raises(UserError, match=rf"Cannot write to .*{file}.*Free some space"):
            log.write(9, {"loss": 1.0})
        log.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[0])
        signal.signal(signal.SIGXFSZ, before[1])
    again(tmp_path, 8).write(10, {"loss": 2.0})
    assert [row["step"] for row in rows_of(tmp_path)] == [2, 4, 6, 8, 10]
    assert [step for step, _ in curve(tmp_path)] == [2, 4, 6, 8, 10]
