"""Write results inside one folder; overwrite only results of an earlier run."""

import json
import os
from collections.abc import Collection
from typing import Any

from aeseg import files
from aeseg.data.files import shown
from aeseg.types import UserError

RECORD = "predictions.json"
"""File that records what was predicted, with which settings.  A folder with this file may be written to again."""


class Outputs:
    """Folder of the results.  Never overwrites an input or a file that `predict` did not write, and follows no link out of the folder."""

    def __init__(self, root: str, inputs: Collection[str]):
        self.root = root
        self._inside = os.path.join(os.path.realpath(root), "")
        self._inputs = {os.path.realpath(path) for path in inputs}
        self._ours = os.path.isfile(os.path.join(root, RECORD))

    def path(self, kind: str, name: str, ending: str) -> str:
        """Return the path of a result, below the folder of its kind."""
        path = os.path.join(self.root, kind, name + ending)
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if not real.startswith(self._inside):
            raise UserError(f"{shown(path)} leads out of {shown(self.root)} through a link. Remove the link, or set another --output.")
        if real in self._inputs or (os.path.lexists(path) and not self._ours):
            raise UserError(f"{shown(path)} exists and is not a result of predict, so it is not overwritten. Set another --output.")
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
        """Write the record of the predictions."""
        files.write(os.path.join(self.root, RECORD), json.dumps(made, indent=1, ensure_ascii=True) + "\n")
