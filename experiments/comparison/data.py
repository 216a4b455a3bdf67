"""Images of a comparison.  All runs share one data description, and each record is read once."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from aeseg import files, spec
from aeseg.data import checks, wrappers
from aeseg.data.inspection import description as descriptions
from aeseg.data.inspection import report
from aeseg.runs import own_data
from aeseg.runs.data import split_config
from aeseg.types import UserError

NAME = "data.json"


def description(path: str, output: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the data description of `--data`: a file that `inspect` wrote, or a folder, which is inspected into `output`/inspection.

    Keeps it in `output`/data.json.  Raises UserError if a continued comparison gets other data.
    """
    kept = os.path.join(output, NAME)
    if os.path.isdir(path):
        inspected_file = os.path.join(output, "inspection", NAME)
        if not os.path.exists(inspected_file):
            inspected = report.inspect(path, os.path.dirname(inspected_file), {}, 20.0, progress=say)
            for question in inspected.questions:
                say(f"? {question}")
            if inspected.questions:
                say(f"To answer: inspect {path} <flags>, then --data=inspections/<name>/data.json. This comparison uses the guesses.")
        path = inspected_file
    elif not path:
        raise UserError("Expected images; got none. Set --data to a folder, or to the data.json that inspect wrote.")
    fields = descriptions.read(path)
    if os.path.exists(kept) and descriptions.read(kept) != fields:
        raise UserError(f"{kept} describes other data than {path}. Set another --output, or remove this one to start again.")
    files.write(kept, json.dumps(fields, indent=2, ensure_ascii=False) + "\n")
    return fields


class Images(NamedTuple):
    """Labelled records of each split, and the unlabelled images of the pretraining.

    description  data description of the segmentation
    bare         data description of the pretraining, without labels
    unlabelled   training images without those of the other splits
    statistics   mean and std of `unlabelled`
    """

    description: Mapping[str, Any]
    bare: Mapping[str, Any]
    train: Any
    validation: Any
    test: Any
    unlabelled: Any
    statistics: dict[str, Any]

    @property
    def classes(self) -> tuple[Any, ...]:
        """Return the classes of the data."""
        return self.train.classes

    @property
    def channels(self) -> int:
        """Return the number of channels."""
        return int(self.description["source"].get("channels", 3))

    @property
    def side(self) -> int:
        """Return the median of the shorter side over the first eight training images."""
        return int(np.median([min(self.train[index]["image"].shape[:2]) for index in range(min(8, len(self.train)))]))

    def labelled(self, count: int, seed: int) -> Any:
        """Return `count` labelled training records, drawn by the seed as `Data.training` draws a fraction."""
        return self.train if count >= len(self.train) else wrappers.Subset(self.train, count / len(self.train), seed)


def read(description: Mapping[str, Any], gib: float = 2.0) -> tuple[Images, list[str]]:
    """Return the images of a description, with `gib` GiB of cache for decoded records, and lines of text about the labels."""
    if not description["source"].get("labels", "?"):
        raise UserError("Expected labels, to compare the arms; the data description has none. Set --labels of inspect.")
    splits = {split: spec.build(split_config(description, split)) for split in ("train", "validation", "test")}
    labelled = {split: splits[split] for split in ("train", "validation")}
    lines = checks.check_labels(labelled, checks.counted(labelled), True, "the data description, with inspect")
    bare = own_data.images_alone(description)
    unlabelled = Kept(spec.build(split_config(bare, "train")), splits["validation"], splits["test"])
    cached = {split: wrappers.Cached(source, gib / 4) for split, source in splits.items()}
    statistics = own_data.statistics_of(unlabelled)
    return Images(description, bare, **cached, unlabelled=wrappers.Cached(unlabelled, gib / 4), statistics=statistics), lines


class Kept(wrappers.Selected):
    """Records of a source whose image files are in no other source."""

    def __init__(self, source: Any, *others: Any):
        taken = {os.path.realpath(path) for other in others for path in getattr(other, "image_files", ())}
        files = getattr(source, "image_files", ())
        super().__init__(source, [index for index in range(len(source)) if not files or os.path.realpath(files[index]) not in taken])


class Spread(wrappers.Selected):
    """At most `most` records of a source, evenly spread over it."""

    def __init__(self, source: Any, most: int):
        spread = np.linspace(0, len(source) - 1, min(most, len(source))).round().astype(int)
        super().__init__(source, np.unique(spread).tolist())
