"""Checks of the labels before the first step: classes, their fractions, and records that splits share."""

import hashlib
import itertools
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Int64

from aeseg.data.files import few, opened, shown
from aeseg.data.records import Source, check
from aeseg.data.survey import spread
from aeseg.types import IGNORE, UserError

DOMINANT = 0.999
"""Fraction of one class above which a warning is printed."""

IGNORED = 0.99
"""Fraction of ignored pixels above which a run stops."""

LIMIT_SECONDS = 20.0
"""Seconds for reading labels; if all labels take longer, FILES of them are read."""

FILES = 200
"""Number of labels of a sample."""


class Counts(NamedTuple):
    """Counts of one split's labels: pixels and images of each class, ignored pixels, labels read and records in all.

    `presence` counts all pixels, ignored ones too, of the images that contain the class.
    """

    pixels: Int64[np.ndarray, "k"]
    ignored: int
    images: Int64[np.ndarray, "k"]
    presence: Int64[np.ndarray, "k"]
    read: int
    records: int

    @property
    def all_read(self) -> bool:
        """Return whether all labels were read."""
        return self.read == self.records


def summed(histograms: Int64[np.ndarray, "n 256"], classes: int, records: int) -> Counts:
    """Return the counts of n labels of a split, whose pixels are counted by value."""
    pixels = histograms[:, :classes]
    presence = np.where(pixels > 0, histograms.sum(axis=1, keepdims=True), 0)
    ignored = int(histograms[:, IGNORE].sum()) if classes <= IGNORE else 0
    return Counts(pixels.sum(axis=0), ignored, (pixels > 0).sum(axis=0), presence.sum(axis=0), len(histograms), records)


def counted(
    sources: Mapping[str, Source],
    limit_seconds: float | int = LIMIT_SECONDS,
    files: int = FILES,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Counts]:
    """Count the labels of each split ("train", "validation", ...); splits without classes and generated scenes are left out.

    Reads `files` labels of each split, or all labels if all splits together take at most `limit_seconds`.  A label value without a
    class raises a UserError.
    """
    read = {split: source for split, source in sources.items() if _names(source) and not getattr(source, "GENERATED", False)}
    return {split: count(source, len(_names(source)), limit_seconds / len(sources), files, clock) for split, source in read.items()}


def check_labels(sources: Mapping[str, Source], counts: Mapping[str, Counts], strict: bool = True, flag: str = "strict=False") -> list[str]:
    """Check splits whose labels are `counted`; return lines to print: notes, class shares, warnings.

    With `strict`, these problems raise a UserError that names `flag`, which turns the check off: splits with different classes or
    codings, records in two splits, a class without a pixel in train, nearly all pixels ignored, no labelled pixel in a split that is
    scored.
    """
    problems, lines = [], []
    for first, second in itertools.combinations(sources, 2):
        problems += _differences(first, sources[first], second, sources[second])
    for note in dict.fromkeys(note for source in sources.values() for note in getattr(source, "notes", ())):
        lines.append(f"Note: {note}.")
    problems, warnings = [*problems, *_shared(sources)], _same_files(sources)
    for split, each in counts.items():
        names = _names(sources[split])
        lines.append(f"{split}: {described(each, names)}")
        stops, warns = judged(split, each, names)
        problems += stops
        warnings += warns
    if problems and strict:
        raise UserError(f"{' '.join(problems)} Correct the data, or let it pass with {flag}.")
    return [*lines, *(f"Warning: {text}" for text in (*problems, *warnings))]


def count(
    source: Source,
    classes: int,
    limit_seconds: float | int = math.inf,
    files: int = FILES,
    clock: Callable[[], float] = time.monotonic,
) -> Counts:
    """Count `files` labels of a source, spread evenly, or all labels if reading them takes at most `limit_seconds` at that speed.

    The first label value outside the classes raises a UserError with the record and the value.
    """
    first = spread(range(len(source)), files)
    chosen = set(first)
    rest = np.random.default_rng(0).permutation([index for index in range(len(source)) if index not in chosen])
    histograms: list[np.ndarray] = []
    began = clock()
    for number, index in enumerate((*first, *rest)):
        if number == len(first) and (clock() - began) * len(source) > limit_seconds * number:
            break
        name, label = _label(source, int(index))
        here = np.bincount(label.reshape(-1), minlength=IGNORE + 1)
        strange = [value for value in np.flatnonzero(here) if value >= classes and value != IGNORE]
        if strange:
            raise UserError(
                f"{name} has label {strange[0]} ({here[strange[0]]} pixels); expected 0..{classes - 1}, or {IGNORE} to ignore. "
                "Correct the file, map the value in the class table, or name the missing classes."
            )
        histograms.append(here)
    return summed(np.array(histograms, np.int64).reshape(-1, IGNORE + 1), classes, len(source))


def described(counts: Counts, names: list[str]) -> str:
    """Describe the classes: `84 of 84 labels: background 86.20 % (84 images), crack 13.80 % (80), ignored 0.00 %`."""
    total = max(1, int(counts.pixels.sum()) + counts.ignored)
    parts = [
        f"{shown(name)} {100 * pixels / total:.2f} % ({images}{' images' if not index else ''})"
        for index, (name, pixels, images) in enumerate(zip(names, counts.pixels.tolist(), counts.images.tolist(), strict=True))
    ]
    return f"{counts.read} of {counts.records} labels: {', '.join(parts)}, ignored {100 * counts.ignored / total:.2f} %"


def judged(split: str, counts: Counts, names: list[str]) -> tuple[list[str], list[str]]:
    """Return the errors and the warnings of one split's counts.  A problem that a sample cannot prove is a warning."""
    labelled, total = int(counts.pixels.sum()), int(counts.pixels.sum()) + counts.ignored
    of = f"the {counts.read} labels of {split}" if counts.all_read else f"{counts.read} of the {counts.records} labels of {split}"
    stops: list[str] = []
    warns: list[str] = []
    certain = stops if counts.all_read else warns
    if not labelled:
        certain.append(f"No pixel in {of} can be {'learned from' if split == 'train' else 'scored'}: all {total:,} are ignored.")
        return stops, warns
    missing = [name for name, pixels in zip(names, counts.pixels, strict=True) if not pixels]
    if missing:
        (certain if split == "train" else warns).append(
            f"{len(missing)} of {len(names)} classes have no pixel in {of}: {few(missing, 20)}. Is class_table what the labels mean?"
        )
    if counts.ignored > IGNORED * total:
        certain.append(f"{100 * counts.ignored / total:.2f} % of the pixels in {of} are ignored.")
    most = int(counts.pixels.argmax())
    if counts.pixels[most] > DOMINANT * labelled and len(names) > 1:
        share = 100 * counts.pixels[most] / labelled
        warns.append(f"{names[most]} has {share:.3f} % of the labelled pixels in {of}; consider class weights or Dice loss.")
    return stops, warns


def _names(source: Any) -> list[str]:
    return [name for name, _ in getattr(source, "classes", ())]


def _label(source: Any, index: int) -> tuple[str, np.ndarray]:
    """Return the name and the label of a record; the image is not read if the source offers labels alone."""
    if callable(getattr(source, "label", None)):
        return f"Record {index}", source.label(index)
    record = source[index]
    name = record.get("name", f"Record {index}")
    if "label" not in record:
        raise UserError(f"{name} has no label, and the run learns from labels. Add it, or pretrain on images.")
    return name, check(record)["label"]


def _differences(first: str, one: Any, second: str, other: Any) -> list[str]:
    ours, theirs = _names(one), _names(other)
    if ours and theirs and ours != theirs:
        return [f"{first} has the classes {few(ours, 20)}, {second} has {few(theirs, 20)}: say what labels mean once (data.source)."]
    if getattr(one, "coding_key", None) != getattr(other, "coding_key", None) and ours and theirs:
        return [f"Labels of {first} and {second} would be read in different ways ({_coding(one)} and {_coding(other)}): set coding."]
    return []


def _coding(source: Any) -> str:
    return "; ".join(getattr(source, "notes", ())) or "by the class table"


def _shared(sources: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each two splits that share image files."""
    files = {split: {os.path.realpath(path) for path in getattr(source, "image_files", ())} for split, source in sources.items()}
    problems = []
    for first, second in itertools.combinations(files, 2):
        both = sorted(files[first] & files[second])
        if both:
            problems.append(f"{first} and {second} share {len(both)} images: {few(both, 3)}.")
    return problems


def _same_files(sources: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each two splits with files of different names but the same bytes."""
    sizes: dict[int, list[tuple[str, str]]] = {}
    for split, source in sources.items():
        for path in dict.fromkeys(os.path.realpath(path) for path in getattr(source, "image_files", ())):
            if os.path.isfile(path):
                sizes.setdefault(os.path.getsize(path), []).append((split, path))
    same: dict[bytes, list[tuple[str, str]]] = {}
    for files in sizes.values():
        if len({split for split, _ in files}) > 1:
            for split, path in files:
                with opened(path) as file:
                    same.setdefault(hashlib.file_digest(cast(Any, file), "sha256").digest(), []).append((split, path))
    pairs: dict[tuple[str, str], list[str]] = {}
    for files in same.values():
        for (first, one), (second, other) in itertools.combinations(files, 2):
            if first != second and one != other:
                pairs.setdefault((first, second), []).append(f"{os.path.basename(one)} = {os.path.basename(other)}")
    return [
        f"{first} and {second} share {len(names)} images of the same bytes: {few(names, 3)}." for (first, second), names in pairs.items()
    ]
