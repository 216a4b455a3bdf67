"""The clean images of a table of `restore`."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from aeseg.data import copies
from aeseg.runs import workdir as workdirs

from ..console import predictors
from ..predictions.inputs import input_files


class Clean(Sequence[tuple[str, np.ndarray]]):
    """The clean images of a table, (name, uint8 image): --input, or the run's test split; read when asked for.

    `title` is the last part of the folder's path.
    """

    def __init__(self, trained: workdirs.Trained, flags: Any):
        self.title = os.path.basename(os.path.normpath(flags.input or trained.run.data.source.get("root", "") or "test"))
        self.channels = trained.run.data.described("test").get("channels", 3)
        self.source: Any = None
        if flags.input:
            paths = input_files(flags.input, flags.output)
            self.keys: Sequence[Any] = paths
        else:
            self.source = predictors.chosen_data(flags, trained).run.data.records("test")
            self.keys = range(len(self.source))
        if flags.most:
            self.keys = [
                self.keys[index] for index in np.linspace(0, len(self.keys) - 1, min(flags.most, len(self.keys))).round().astype(int)
            ]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: Any) -> Any:
        key = self.keys[index]
        if self.source is None:
            return os.path.basename(key), copies.read(key, self.channels).image
        record = self.source[key]
        return str(record.get("name", key)), record["image"]
