"""Report on a folder: its files, the meaning of its labels, problems, splits, and settings to train with."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aeseg.data import groups
from aeseg.data.checks import Counts, described, judged, summed
from aeseg.data.files import few, shown
from aeseg.data.inspection import alignment, companions, description, duplicates, layout, meaning, scan, sheet, splitting, suggestions
from aeseg.data.inspection.layout import Layout
from aeseg.data.inspection.scan import Seen
from aeseg.data.matching import Locations, label_files
from aeseg.data.sources.folder import Folder
from aeseg.data.statistics import channel_statistics
from aeseg.data.survey import spread
from aeseg.types import IGNORE, UserError

LABELS = 1000
"""Labels read for the class fractions, evenly spread over all splits; all labels if there are fewer."""

STATISTICS = 100
"""Images in the printed mean and standard deviation."""


class Found(NamedTuple):
    """The result: lines to print by heading, questions, the description, and the written files."""

    sections: dict[str, list[str]]
    questions: tuple[str, ...]
    description: dict[str, Any]
    written: tuple[str, ...]


def inspect(
    root: str, output: str, answers: Mapping[str, Any], seconds: float | int = 60.0, seed: int = 0, progress: Callable[[str], None] = print
) -> Found:
    """Inspect a folder and write data.json, contact.png and the lists of splits below `output`.

    `answers` are known fields of `Folder`.  Headers of all images are read; pixels, for duplicates, as far as `seconds` allow.
    """
    if not os.path.isdir(root):
        raise UserError(f"There is no directory {shown(root)}. Name the folder that holds the images.")
    Path(output).mkdir(parents=True, exist_ok=True)
    guessed = layout.guess(root)
    source, fields, notes, questions = _source(root, guessed, dict(answers))
    splits, completed = _completed({split: dict(own) for split, own in guessed.splits.items()})
    sources, said = _of_splits(root, fields, splits)
    sources = sources or {"": source}
    split_of = {files.image: split for split, one in sources.items() for files in one.records}
    progress(f"{shown(root)}: {guessed.kind}; reading the headers of {len(split_of)} images")
    seen = scan.seen(root, list(split_of))
    read = meaning.of_images(seen, root, answers.get("pages", ""))
    questions += [*said, *(question for question in read.questions if not any(f"--{name}=" in question for name in answers))]
    fields |= {name: value for name, value in read.fields.items() if name not in answers}
    source = Folder(root=root, **fields)
    if source.reading.value_range != (0.0, 0.0):
        fields["value_range"] = source.reading.value_range  # stated once, instead of surveyed by each split
    with contextlib.suppress(UserError):  # counting the labels asks about it
        notes += [note for note in source.notes if note not in notes]
    progress("looking for duplicates")
    pictures = scan.pictures(root, seen, seconds)
    same, near = duplicates.same(root, seen), duplicates.near(pictures)
    sections = {
        "Files": [f"layout: {guessed.kind}", *guessed.notes, *completed, *notes, *read.notes, *_files(seen)],
        "Duplicates": _duplicates(same, near, split_of, len(pictures), len(seen)),
    }
    written: list[str] = []
    if splits:
        sections["Splits"] = [f"{split}: {len(sources[split])} images, {few(own.values())}" for split, own in splits.items()]
    else:
        splits, sections["Splits"] = splitting.made(source, [*same, *near], output, seed)
        written += [own["list_file"] for own in splits.values() if "list_file" in own]
    whole = {split: Folder(root=root, **{**fields, **own}) for split, own in (splits or {"": {}}).items()}
    train = whole.get("train", next(iter(whole.values())))
    with contextlib.suppress(UserError):  # unreadable images are listed under Files
        mean, std, read_images = channel_statistics(train, STATISTICS, seed)
        listed = [f"{one:.3f} +- {other:.3f}" for one, other in zip(mean, std, strict=True)]
        sections["Files"].append(f"mean +- standard deviation of each channel, of {read_images} training images: {', '.join(listed)}")
    counts, order, classes = _classes(whole, progress)
    if classes.lines:
        sections["Classes"] = classes.lines
    with contextlib.suppress(UserError):  # unreadable labels and planes are listed above
        if said := alignment.lines(train):
            sections["Modalities"] = said
    if sheet.write(Path(output, "contact.png"), train, order):
        written.append(str(Path(output, "contact.png")))
    sizes = [(file.header.height, file.header.width) for file in seen if file.header]
    if sizes:
        advice = suggestions.suggested(sizes, len(train), counts, [item.name for item in source.classes])
        advice += companions.suggested(train)
        sections["Suggestions"] = [f"{item.name} = {item.value}: {item.reason}" for item in advice]
    described = description.of(root, fields, splits)
    description.write(Path(output, "data.json"), described)
    return Found(sections, tuple(dict.fromkeys((*questions, *classes.questions))), described, (str(Path(output, "data.json")), *written))


class _Said(NamedTuple):
    lines: list[str]
    questions: list[str]


def _source(root: str, guessed: Layout, answers: dict[str, Any]) -> tuple[Folder, dict[str, Any], list[str], list[str]]:
    """Build the source of a layout and its labels' meaning; return the source, its fields, notes and questions."""
    fields = {**guessed.fields, **answers}
    locations = Locations(root, fields["images"], fields["labels"], fields.get("roi", ""), fields.get("label_suffix", ""))
    locations = locations._replace(image_name=fields.get("image_name", ""), label_name=fields.get("label_name", ""))
    files = label_files(locations)
    meant = meaning.of_labels(root, guessed._replace(fields=fields), files) if fields["labels"] else meaning.Meaning({}, (), ())
    fields = {**guessed.fields, **meant.fields, **answers}
    questions = [question for question in meant.questions if not any(f"--{name}" in question for name in answers)]
    attempts: tuple[tuple[dict[str, Any], str], ...] = (
        ({}, ""),
        ({"only_labelled": True}, "only labelled images are taken (--only_labelled=true)"),
        ({"labels": "", "label_name": "", "roi": ""}, "labels are left out (--labels='')"),
    )
    error = ""
    for more, remedy in attempts:
        try:
            source = Folder(root=root, **{**fields, **more})
        except UserError as failure:
            error = error or str(failure)
            continue
        if error:
            questions.append(f"{error} Here {remedy}: is that right?")
        return source, {**fields, **more}, list(meant.notes), questions
    raise UserError(error)


def _of_splits(root: str, fields: Mapping[str, Any], splits: dict[str, dict[str, Any]]) -> tuple[dict[str, Folder], list[str]]:
    """Build the source of each split in the layout; an unreadable split is left out and becomes a question."""
    sources, questions = {}, []
    for split in list(splits):
        try:
            sources[split] = Folder(root=root, **{**fields, **splits[split]})
        except UserError as error:
            questions.append(f"the split {split} of {few(splits[split].values())} cannot be used: {error}")
            del splits[split]
    return sources, questions


def _completed(splits: dict[str, dict[str, Any]]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Complete the splits to three; missing splits are drawn from the training records."""
    if "train" not in splits or len(splits) == 3:
        return splits, []
    train, notes = splits["train"], []
    if "validation" in splits:
        splits = {"train": train, "test": splits["validation"]}
        notes.append("there is no test split: the validation split that was found is the test")
    if "test" not in splits:
        return {split: {**train, "split": split} for split in groups.SPLITS}, ["only a training split was found: three are drawn from it"]
    shares = (0.85, 0.15, 0.0)
    own = {split: {**train, "split": split, "splits": shares} for split in ("train", "validation")}
    return {**own, "test": splits["test"]}, [*notes, "validation is 15 % of the training records, by group"]


def _files(seen: Sequence[Seen]) -> list[str]:
    heads = [file.header for file in seen if file.header]
    bad = [file for file in seen if not file.header]
    lines = [f"{len(heads)} images, {sum(file.bytes for file in seen) / 2**30:.2f} GiB"]
    if heads:
        sizes = np.array([(head.height, head.width) for head in heads])
        unlike = len({(head.height, head.width) for head in heads})
        (h0, w0), (h, w), (h1, w1) = (sizes.min(axis=0), np.median(sizes, axis=0).astype(int), sizes.max(axis=0))
        lines.append(f"sizes (height x width): {h0}x{w0} to {h1}x{w1}, median {h}x{w}, {unlike} different")
        for what, values in (("kinds", [head.kind for head in heads]), ("depths", [head.dtype for head in heads])):
            lines.append(f"{what}: {few([f'{value} {count}' for value, count in Counter(values).most_common()])}")
        channels = Counter(f"{head.channels}{' (one is alpha)' if head.alpha else ''}" for head in heads)
        lines.append(f"channels: {few([f'{value}: {count} images' for value, count in channels.most_common()])}")
    if bad:
        lines.append(f"{len(bad)} files cannot be read: {'; '.join(shown(file.error) for file in bad[:5])}")
    return lines


def _duplicates(
    same: Sequence[tuple[str, str]], near: Sequence[tuple[str, str]], split_of: Mapping[str, str], looked: int, all_: int
) -> list[str]:
    equal = {frozenset(pair) for pair in same}
    near = [pair for pair in near if frozenset(pair) not in equal]
    lines = [f"{len(same)} files are copies of others; {len(near)} pairs look alike ({looked} of {all_} images looked at)"]
    for what, pairs in (("copies", same), ("look alike", near)):
        if pairs:
            lines.append(f"{what}: {few([f'{one} = {other}' for one, other in pairs], 4)}")
        across = [pair for pair in pairs if len({split_of.get(path, "") for path in pair}) > 1]
        if across:
            lines.append(
                f"Warning: {len(across)} pairs lie in different splits, whose scores they flatter: {few(map(' = '.join, across), 3)}"
            )
    return lines


def _classes(sources: Mapping[str, Folder], progress: Callable[[str], None]) -> tuple[Counts | None, list[int], _Said]:
    """Return the counts of the training labels, its records with rare classes first, and lines."""
    lines: list[str] = []
    questions: list[str] = []
    first = None
    order = list(range(len(sources.get("train", next(iter(sources.values()))))))
    for split, source in sources.items():
        names = [item.name for item in source.classes]
        if not names:
            continue
        progress(f"reading labels{f' of {split}' if split else ''}")
        chosen = spread(range(len(source)), LABELS // len(sources))
        try:
            with ThreadPoolExecutor(scan.workers()) as pool:
                rows = np.array(list(pool.map(lambda index, source=source: _counted(source, index), chosen)))
        except UserError as error:
            questions.append(f"labels cannot be read as they are described: {error}")
            continue
        pixels = rows[:, : len(names)]
        counts = summed(rows, len(names), len(source))
        lines.append(f"{split or 'all'}: {described(counts, names)}")
        stops, warns = judged(split or "all", counts, names)
        lines += [f"Warning: {text}" for text in (*stops, *warns)]
        if split in ("", "train"):
            first = counts
            order = np.array(chosen)[sheet.rarest_first(pixels > 0, counts.pixels / max(1, counts.pixels.sum()))].tolist()
    return first, order, _Said(lines, questions)


def _counted(source: Folder, index: int) -> np.ndarray:
    return np.bincount(source.label(index).reshape(-1), minlength=IGNORE + 1)
