"""Write results inside one folder; overwrite only results of an earlier run of the same command."""

import contextlib
import json
import os
from collections.abc import Collection, Iterator
from typing import Any

from aeseg import files
from aeseg.data.files import shown
from aeseg.types import UserError

RECORDS = {
    "predict": "predictions.json",
    "restore": "restorations.json",
    "anomalies": "anomalies.json",
    "compress": "compressed.json",
    "decompress": "decompressed.json",
}
"""File of each command that records its results, with the settings.  The command may write to a folder with its file again."""


class OutputRefused(UserError):
    """Results cannot be written, so the command stops."""


class Outputs:
    """Folder of a command's results.  Never overwrites an input or a file that the command did not write, and follows no link out of it."""

    def __init__(self, root: str, inputs: Collection[str], command: str = "predict"):
        self.root, self.command = root, command
        self._inside = os.path.join(os.path.realpath(root), "")
        self._inputs = {os.path.realpath(path) for path in inputs}
        self._ours = os.path.isfile(os.path.join(root, RECORDS[command]))

    def path(self, kind: str, name: str, ending: str) -> str:
        """Return the path of a result, below the folder of its kind."""
        path = os.path.join(self.root, kind, name + ending)
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if not real.startswith(self._inside):
            raise UserError(f"{shown(path)} leads out of {shown(self.root)} through a link. Remove the link, or set another --output.")
        if real in self._inputs or (os.path.lexists(path) and not self._ours):
            raise UserError(f"{shown(path)} exists and is not a result of {self.command}, so it is not overwritten. Set another --output.")
        return path

    def claim(self, kinds: Collection[tuple[str, str]], names: Collection[str]) -> None:
        """Raise UserError if a result of some kind, (folder, suffix), cannot be written; else mark the folder as ours."""
        for kind, ending in kinds:
            for name in names:
                self.path(kind, name, ending)
        self.path("", "overview", ".png")
        self.record({})
        self._ours = True

    def record(self, made: dict[str, Any]) -> None:
        """Write the record of the results."""
        files.write(os.path.join(self.root, RECORDS[self.command]), json.dumps(made, indent=1, ensure_ascii=True) + "\n")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn an operating system's error in writing into a message that names --output."""
        try:
            yield
        except UserError as error:
            if isinstance(error.__cause__, OSError):
                raise OutputRefused(
                    f"Cannot write to {self.root}: {error.__cause__.strerror}. Free some space, or set another --output."
                ) from error
            raise
