"""experiments/machine/commands.py: a command gets its share of the machine, and its errors and seconds are kept."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from aeseg.types import UserError
from experiments.machine import commands


def test_more_runs_than_devices_are_refused(monkeypatch):
    monkeypatch.setattr(commands, "_gpus", lambda: ["3"])
    with pytest.raises(UserError, match=r"Expected --jobs of 1 to 1, the GPUs of this machine; got 2\."):
        commands.shares(2)
    monkeypatch.setattr(commands, "_gpus", list)
    with pytest.raises(UserError, match="got 0"):
        commands.shares(0)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system knows no affinity")
def test_a_process_can_limit_itself_to_the_share_of_one_run(monkeypatch):
    monkeypatch.setattr(commands, "_gpus", lambda: ["3", "4"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    seen = []
    thread = threading.Thread(target=lambda: seen.append((commands.take_share(2), os.sched_getaffinity(0))))
    thread.start()
    thread.join()
    assert seen[0][1] == set(sorted(os.sched_getaffinity(0))[::2])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system knows no affinity")
def test_a_command_runs_on_its_cores_and_its_gpu_and_its_output_is_in_the_log(tmp_path):
    core = min(os.sched_getaffinity(0))
    log = tmp_path / "logs" / "a.log"
    code = "import os; print(sorted(os.sched_getaffinity(0)), os.environ['CUDA_VISIBLE_DEVICES'])"
    command = [sys.executable, "-c", code]
    thread = threading.Thread(target=commands.call, args=(command, {"cores": [core], "gpu": "7"}, str(log)))
    thread.start()
    thread.join()
    assert log.read_text() == f"[{core}] 7\n"
    assert commands.call([sys.executable, "-c", "print(1)"], {}, capture=True) == "1\n"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("raise ValueError('no luck')", "exit code 1: ValueError: no luck (see above)"),
        (
            r"raise SystemExit(print('Note\n\nExpected a run;\n  got none.', file=sys.stderr) or 2)",
            "exit code 2: Expected a run; got none. (see above)",
        ),
    ],
)
def test_an_error_has_the_last_message_of_the_command(code, error, capfd):
    with pytest.raises(UserError) as caught:
        commands.call([sys.executable, "-c", f"import sys; {code}"], {})
    assert str(caught.value) == error
    assert "This failed: " in capfd.readouterr().err


def test_a_command_that_a_signal_stopped_did_not_fail(capfd):
    with pytest.raises(UserError, match="exit code 143"):
        commands.call([sys.executable, "-c", "raise SystemExit(143)"], {})
    assert "Stopped: " in (printed := capfd.readouterr().err)
    assert "failed: " not in printed


def test_the_seconds_of_an_interrupted_run_are_included(tmp_path):
    path = tmp_path / "seconds.txt"
    path.write_text("100.0\n")

    def cut_off():
        raise UserError("failed")

    with pytest.raises(UserError, match="failed"):
        commands.timed(cut_off, str(path))
    assert len(path.read_text().splitlines()) == 2
    assert 100 <= commands.timed(lambda: None, str(path)) < 110


CALLS = """
import sys
from experiments.machine import commands
with commands.held(sys.argv[1]) as lock:
    commands.call([sys.executable, "-c", "print('begun', flush=True); input()"], {}, lock=lock)
"""


def test_a_command_that_outlives_its_caller_keeps_the_lock(tmp_path):
    path = str(tmp_path / "row.lock")
    caller = subprocess.Popen([sys.executable, "-c", CALLS, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with caller:
        assert caller.stdout.readline() == "begun\n"
        caller.kill()
        caller.wait()
        with pytest.raises(commands.Busy, match="another process is running this"), commands.held(path):
            pass
        caller.stdin.write("\n")  # the command ends
        caller.stdin.flush()
        assert caller.stdout.read() == ""
    with commands.held(path):
        pass


TIMES = """
import sys
from concurrent.futures import ThreadPoolExecutor
from experiments.machine import commands
command = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(600)"]
with commands.ended_together(), ThreadPoolExecutor(1) as pool:
    pool.submit(commands.timed, lambda: commands.call(command, {}), sys.argv[1]).result()
"""


def test_sigterm_ends_the_command_of_its_caller_and_records_its_seconds(tmp_path):
    path = tmp_path / "seconds.txt"
    with subprocess.Popen([sys.executable, "-c", TIMES, str(path)], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout.readline() == "begun\n"
        caller.terminate()
        assert caller.stdout.read() == ""  # the command has ended
    assert caller.returncode == 128 + signal.SIGTERM
    assert commands.seconds(str(path)) > 0


SAVES = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("saved", flush=True) or 143))
print("began", flush=True)
time.sleep(60)
"""


def test_a_command_is_asked_to_save_before_the_deadline_and_none_begins_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "RESERVE", 1.0)
    log, deadline = str(tmp_path / "log"), time.monotonic() + 6.0
    with pytest.raises(commands.Late, match="the minutes are over; the same command continues"):
        commands.call([sys.executable, "-c", SAVES], {"deadline": deadline}, log)
    assert time.monotonic() < deadline + 5.0
    assert (tmp_path / "log").read_text() == "began\nsaved\n"
    with pytest.raises(commands.Late):
        commands.call([sys.executable, "-c", SAVES], {"deadline": deadline}, log)
    assert (tmp_path / "log").read_text() == "began\nsaved\n"
    assert commands.call([sys.executable, "-c", "print(1)"], {"deadline": commands.deadline(5)}, capture=True) == "1\n"


def test_no_task_begins_after_the_deadline():
    ran, todo = [], [1, 2, 3]

    def run(task, share):
        ran.append(task)
        if task == 2:
            time.sleep(max(0.0, deadline - commands.RESERVE - time.monotonic()))

    deadline = time.monotonic() + commands.RESERVE + 0.5
    commands.run_all(1, lambda running: todo.pop(0) if todo else None, run, lambda task, future: future.result(), deadline=deadline)
    assert ran == [1, 2]
    with pytest.raises(UserError, match=r"Expected minutes >= 0, where 0 has no limit; got -1\. Set --minutes\."):
        commands.deadline(-1)
    assert commands.deadline(0) == float("inf")
