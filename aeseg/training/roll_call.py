"""Roll call: names the processes of a job that do not start.

jax waits for all processes and names none.  So while jax waits, each process reports to the first, at a port computed from the
coordinator's.  Without this port (a firewall, another user), missing processes stay unnamed.
"""

import contextlib
import os
import re
import socket
import threading
import time
from typing import Any

DISTANCE = 4096
"""Difference between the ports of jax's coordinator and of the roll call; SLURM's coordinators use the last 4096 ports."""


class RollCall:
    """The roll call of one process; it runs until it is closed."""

    def __init__(self, address: str, processes: int, process: int):
        self._host, _, port = address.rpartition(":")
        self._port = int(port) - DISTANCE if int(port) > 2 * DISTANCE else int(port) + DISTANCE
        self._processes, self._process = processes, process
        self._came, self._open, self._works = {process}, True, False
        threading.Thread(target=self._listen if process == 0 else self._tell, name="aeseg-roll-call", daemon=True).start()

    def absent(self) -> list[int]:
        """Return the processes that have not reported, as far as this process knows."""
        if self._process:
            return [] if self._works else [0]
        return [process for process in range(self._processes) if process not in self._came] if self._works else []

    def close(self) -> None:
        """Release the port."""
        self._open = False

    def _listen(self) -> None:
        with contextlib.suppress(OSError), socket.create_server(("", self._port), backlog=self._processes) as server:
            self._works = True
            server.settimeout(0.2)
            while self._open:
                with contextlib.suppress(OSError):
                    line, _ = server.accept()
                    with line:
                        line.settimeout(1)
                        if number := re.fullmatch(rb"aeseg (\d{1,9})\n", line.recv(32)):
                            self._came.add(int(number[1]))
                            line.sendall(b"seen\n")

    def _tell(self) -> None:
        while self._open and not self._works:
            with contextlib.suppress(OSError), socket.create_connection((self._host.strip("[]"), self._port), timeout=2) as line:
                line.sendall(f"aeseg {self._process}\n".encode())
                self._works = line.recv(8) == b"seen\n"
            time.sleep(0.2)


def begin(address: Any) -> RollCall | None:
    """Return the roll call of this job; None if its cluster does not name the first process.

    `address` has arguments of jax.distributed.initialize; missing ones are read from the cluster, as jax does.
    """
    from jax._src import clusters  # jax has no public function that detects a cluster

    given = [address.get(name) for name in ("coordinator_address", "num_processes", "process_id")]
    given[0] = given[0] or os.environ.get("JAX_COORDINATOR_ADDRESS")
    try:
        if None in given:
            detect: Any = clusters.ClusterEnv.auto_detect_unset_distributed_params  # its arguments differ between versions of jax
            given = list(detect(*given, None, None, 10))[:3]
        return RollCall(*given) if None not in given else None
    except Exception:  # jax tries the same next, and reports the error
        return None


def message(call: RollCall | None, seconds: int) -> str:
    """Return the message about processes that did not start within these seconds."""
    if not (absent := call.absent() if call else []):
        return f"Not all processes of the job started within {seconds} s. Find those that did not, and start all again."
    assert call is not None
    noun, names = ("Processes", ", ".join(map(str, absent))) if len(absent) > 1 else ("Process", str(absent[0]))
    where = f" (no answer from {call._host})" if absent == [0] else ""
    return f"{noun} {names} of {call._processes} did not start within {seconds} s{where}. Find the cause, and start all again."
