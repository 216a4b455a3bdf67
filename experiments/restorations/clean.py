"""The clean images of a table of `restore`."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from aeseg.data import copies
from aeseg.data.survey import spread
from aeseg.runs import workdir as workdirs

from ..console import predictors
from ..predictions.inputs import input_files


class Clean(Sequence[tuple[str, np.ndarray]]):
    """The clean images of a table, (name, image), from --input or the run's test split; an image is read when it is indexed.

    `title` is the name of the folder.
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
            self.keys = spread(self.keys, flags.most)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: Any) -> Any:
        key = self.keys[index]
        if self.source is None:
            return os.path.basename(key), copies.read(key, self.channels).image
        record = self.source[key]
        return str(record.get("name", key)), record["image"]
