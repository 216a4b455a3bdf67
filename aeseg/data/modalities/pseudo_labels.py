"""Pseudo-labels: label maps that another network predicted, one file for each image, as `predict` writes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aeseg.data import decode
from aeseg.data.files import IMAGES, few, shown
from aeseg.data.images import check_size
from aeseg.data.matching import Files
from aeseg.data.modalities import matching
from aeseg.data.modalities.matching import Stems
from aeseg.data.reading import Reading
from aeseg.types import IGNORE, UserError


@dataclass(frozen=True)
class PseudoLabels:
    """Class numbers [h w] of the image's size, uint8, or IGNORE; a record without a file has only IGNORE."""

    root: str
    files: Mapping[str, str]
    classes: int
    reading: Reading
    notes: tuple[str, ...] = ()
    key = "label"

    def read(self, files: Files, image: np.ndarray) -> dict[str, Any]:
        path = self.files.get(files.name, "")
        label = np.full(image.shape[:2], IGNORE, np.uint8)
        if path:
            values = decode.stored(Path(self.root, path), reading=self.reading).values
            wrong = [str(value) for value in np.unique(values).tolist() if value >= self.classes and value != IGNORE]
            if values.ndim != 2 or wrong:
                got = f"the values {few(wrong)}" if values.ndim == 2 else "colours"
                raise UserError(
                    f"{shown(path)} should hold class numbers 0..{self.classes - 1}, and {IGNORE} for unknown; got {got}. Use the files "
                    "that predict writes below labels, with the same class_table."
                )
            label = values.astype(np.uint8)
            check_size(self.root, self.reading, files.image, image, path, label)
        return {self.key: label, f"has_{self.key}": np.array(bool(path))}


def reader(root: str, folder: str, classes: int, stems: Stems, reading: Reading, complete: bool = True) -> PseudoLabels:
    """Return the reader of a folder."""
    matches = matching.of_folder(root, folder, "pseudo_labels", IMAGES, stems, complete)
    return PseudoLabels(root, matches.of, classes, reading, matches.notes)
