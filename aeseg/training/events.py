"""TensorBoard event files, written immediately: no thread, no open file, no partial event when the disk is full."""

import functools
import itertools
import os
import socket
import struct
import sys
import time
from collections.abc import Mapping
from typing import Any

from aeseg import files

_number = itertools.count()


class Events:
    """The event files of one run in a folder.  tensorboardX makes the messages; each call appends all of them or none."""

    def __init__(self, folder: str):
        self._folder, self._path, self._start = folder, "", 0

    def rewind(self, step: int) -> None:
        """Start a new file, which makes TensorBoard hide points later than `step` in earlier files."""
        self._path, self._start = "", step

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one point of each curve."""
        Event, SessionLog, scalar, _ = _tensorboardx()
        now, events = time.time(), []
        if not self._path:
            name = f"events.out.tfevents.{now:.0f}.{socket.gethostname()}.{os.getpid()}.{next(_number)}"
            self._path = os.path.join(self._folder, name)
            events = [Event(wall_time=now, file_version="brain.Event:2")]
            if self._start:
                events.append(Event(wall_time=now, step=self._start + 1, session_log=SessionLog(status=SessionLog.START)))
        events += [Event(wall_time=now, step=step, summary=scalar(name, value)) for name, value in values.items()]
        files.append(self._path, b"".join(_framed(event.SerializeToString()) for event in events))


@functools.cache
def _tensorboardx() -> tuple[Any, Any, Any, Any]:
    """Import tensorboardX without torch: it imports an installed torch only to recognise tensors, which takes 0.15 GB and 2 seconds.

    Return its Event, SessionLog, scalar and masked_crc32c.
    """
    loaded = "torch" in sys.modules
    if not loaded:
        sys.modules["torch"] = None  # type: ignore[assignment]  # Python's mark for a module that must not be imported
    try:
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.record_writer import masked_crc32c
        from tensorboardX.summary import scalar
    finally:
        if not loaded:
            del sys.modules["torch"]
    return Event, SessionLog, scalar, masked_crc32c


def _framed(message: bytes) -> bytes:
    """Return a message as a TFRecord: its length, the length's masked CRC-32C, the message, its masked CRC-32C."""
    *_, masked_crc32c = _tensorboardx()
    length = struct.pack("<Q", len(message))
    return length + struct.pack("<I", masked_crc32c(length)) + message + struct.pack("<I", masked_crc32c(message))
