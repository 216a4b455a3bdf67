"""Where results go: inside one folder, over nothing but results of an earlier run."""

import json
import os
from collections.abc import Collection
from typing import Any

from aeseg import files
from aeseg.data.files import shown
from aeseg.types import UserError

RECORD = "predictions.json"
"""What was predicted, with what.  A folder that holds it may be written to again."""


class Outputs:
    """The folder of the results.  No input and no file that `predict` did not write is overwritten, no link leads out of the folder."""

    def __init__(self, root: str, inputs: Collection[str]):
        self.root = root
        self._inside = os.path.join(os.path.realpath(root), "")
        self._inputs = {os.path.realpath(path) for path in inputs}
        self._ours = os.path.isfile(os.path.join(root, RECORD))

    def path(self, kind: str, name: str, ending: str) -> str:
        """The path of a result, below the folder of its kind."""
        path = os.path.join(self.root, kind, name + ending)
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if not real.startswith(self._inside):
            raise UserError(f"{shown(path)} leads out of {shown(self.root)} by a link. Remove the link, or name another --output.")
        if real in self._inputs or (os.path.lexists(path) and not self._ours):
            raise UserError(f"{shown(path)} exists and is not a result of predict; it is left as it is. Name another --output.")
        return path

    def claim(self, kinds: Collection[tuple[str, str]], names: Collection[str]) -> None:
        """Raise UserError if a result of some kind, (folder, ending), cannot be written; then the folder is ours."""
        for kind, ending in kinds:
            for name in names:
                self.path(kind, name, ending)
        self.path("", "overview", ".png")
        self.record({})
        self._ours = True

    def record(self, made: dict[str, Any]) -> None:
        """Write what was predicted."""
        files.write(os.path.join(self.root, RECORD), json.dumps(made, indent=1, ensure_ascii=True) + "\n")
