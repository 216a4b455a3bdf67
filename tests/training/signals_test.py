"""aeseg/training/signals.py and the loop: a signal saves if there is something to save, and ends the run in seconds."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from aeseg.training import roll_call, signals
from aeseg.training.checkpoints import saved_steps
from tests.forked import Forked
from tests.training.program import main

ENVIRONMENT = {**os.environ, "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")}
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


def script(body, leaves=False):
    """Start a process that listens for signals and runs `body`, which prints `ready`."""
    text = f"""
import sys, time, math
from aeseg.training import signals
signals.PATIENCE = 1.0
with signals.listening(leaves=lambda: {leaves}):
    try:
        {body}
        code = 128 + signals.heard() if signals.heard() else 0
    except signals.Stopped as stop:
        code = stop.code
    if code:
        signals.leave(code)
"""
    return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process, line):
    for printed in process.stdout:
        if line in printed:
            return
    raise AssertionError(f"{line!r} was not printed: {process.stderr.read()}")


def ended(process, within):
    """Return (exit code, stderr), after checking the time."""
    began = time.monotonic()
    errors = process.communicate(timeout=60)[1]
    assert time.monotonic() - began < within
    assert "Traceback" not in errors
    return process.returncode, errors


@pytest.mark.parametrize("number", CODES)
def test_a_signal_ends_a_waiting_process_at_once(number):
    process = script("print('ready', flush=True); time.sleep(100)")
    wait_for(process, "ready")
    process.send_signal(number)
    assert ended(process, within=5) == (CODES[number], "")


def test_a_process_with_nothing_to_save_ends_at_once_where_an_exception_would_be_lost():
    """Between two calls of a C++ library, an exception of a signal may abort the process; here a `finally` would swallow it."""
    body = """
        with signals.reacting(raises=True):
            pass
        print('ready', flush=True)
        while True:
            try:
                time.sleep(100)
            except BaseException:
                print('lost', flush=True)"""
    process = script(body.strip(), leaves=True)
    wait_for(process, "ready")
    process.send_signal(signal.SIGTERM)
    code, errors = ended(process, within=5)
    assert code == 143
    assert errors.strip() == "Stopped. The same command continues from the last checkpoint."


def test_a_process_that_does_not_react_is_ended_after_its_limit_with_a_message():
    """Like a compilation, this digest blocks the main thread, so no Python signal handler runs."""
    process = script("import hashlib; print('ready', flush=True); hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)")
    wait_for(process, "ready")
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    code, errors = ended(process, within=10)
    assert code == 143
    assert "Ended 1 s after SIGTERM" in errors


def test_a_second_interrupt_ends_at_once_without_a_traceback_even_while_saving():
    process = script("with_ = signals.unhurried(); with_.__enter__(); print('ready', flush=True); time.sleep(100)")
    wait_for(process, "ready")
    process.send_signal(signal.SIGINT)
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    code, errors = ended(process, within=5)
    assert code == 130
    assert errors.count("\n") == 2
    assert "Interrupted twice" in errors


def test_the_echo_of_an_interrupt_is_not_a_second_interrupt():
    process = script("with_ = signals.unhurried(); with_.__enter__(); print('ready', flush=True); time.sleep(2)")
    wait_for(process, "ready")
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert ended(process, within=10) == (130, "")


def test_handlers_are_restored_afterwards():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with signals.listening(), signals.listening():
        assert signal.getsignal(signal.SIGTERM) != before[0]
        with pytest.raises(signals.Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signals.heard() == signal.SIGTERM
        with signals.unhurried(), pytest.raises(signals.Stopped), signals.reacting(raises=True):
            pass
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert signals.heard() == 0


def program(workdir, *options):
    return Forked(main, [str(workdir), *options], ENVIRONMENT)


def test_a_run_stops_in_a_step_and_in_an_evaluation_and_while_waiting_for_data_and_resumes(tmp_path):
    """Stop one run three times, then finish it."""
    moments = (
        ("batch 3", signal.SIGTERM, "pause=0.3"),
        ("evaluating", signal.SIGINT, "evaluation=60"),
        ("batch 7", signal.SIGINT, "pause_at=7"),
    )
    for moment, number, option in moments:
        process = program(tmp_path, "steps=9", "evaluate_every=6", option)
        wait_for(process, moment)
        process.send_signal(number)
        code, errors = ended(process, within=15)
        assert code == CODES[number], errors
    assert saved_steps(str(tmp_path / "checkpoints"))[-1] == 7
    process = program(tmp_path, "steps=9", "evaluate_every=6")
    code, _ = ended(process, within=60)
    assert code == 0
    rows = (tmp_path / "metrics.jsonl").read_text()
    assert re.findall(r'"step": (\d+), "validation', rows) == ["6", "9"]


def port():
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def ranks(tmp_path):
    """Start two processes that train one model, and wait for their third step."""
    started, free = [], port()
    for rank in (0, 1):
        started.append(program(tmp_path, "ranks=2", f"rank={rank}", f"port={free}", "pause=0.2", "lost_after=5"))
    for process in started:
        wait_for(process, "batch 3")
    yield started
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("rank", [0, 1])
def test_all_processes_save_the_same_step_and_end_with_143_whichever_got_the_signal(ranks, tmp_path, rank):
    ranks[rank].send_signal(signal.SIGTERM)
    printed = [process.communicate(timeout=60) for process in ranks]
    assert [process.returncode for process in ranks] == [143, 143], printed
    (step,) = {re.search(r"ended at (\d+)", text)[1] for text, _ in printed}
    assert saved_steps(str(tmp_path / "checkpoints")) == [int(step)]


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_others_in_bounded_time_and_is_named(ranks, lost):
    ranks[lost].kill()
    began = time.monotonic()
    _, errors = ranks[1 - lost].communicate(timeout=60)
    assert time.monotonic() - began < 15
    assert ranks[1 - lost].returncode == 1, errors
    assert f"Process {lost} of 2 is lost" in errors, "the sentence; gRPC may log a line after it"


def test_a_process_that_never_starts_ends_the_waiting_processes(tmp_path):
    process = program(tmp_path, "ranks=2", "rank=0", f"port={port()}", "within=3")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "Process 1 of 2 did not start within 3 s" in errors.strip().splitlines()[-1]


def test_processes_that_have_started_are_not_named(tmp_path):
    free = port()
    first = roll_call.RollCall(f"127.0.0.1:{free}", 4, 0)
    others = [roll_call.RollCall(f"127.0.0.1:{free}", 4, process) for process in (1, 3)]
    late = time.monotonic() + 10
    while first.absent() != [2] and time.monotonic() < late:
        time.sleep(0.05)
    assert first.absent() == [2]
    assert "Process 2 of 4 did not start within 9 s." in roll_call.message(first, 9)
    assert [other.absent() for other in others] == [[], []]
    for call in (first, *others):
        call.close()


def test_a_first_process_that_never_starts_is_named_by_the_others():
    call = roll_call.RollCall(f"127.0.0.1:{port()}", 2, 1)
    assert "Process 0 of 2 did not start within 9 s (no answer from 127.0.0.1)" in roll_call.message(call, 9)
    call.close()
    assert "Not all processes" in roll_call.message(None, 9)
