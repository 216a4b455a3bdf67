"""Guess of the meaning of labels: class table, coding, and the questions that only the user can answer."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aeseg.data import coding, decode, tables
from aeseg.data.annotations import labelme, yolo
from aeseg.data.classes import default_colour
from aeseg.data.coding import Findings
from aeseg.data.files import IMAGES, few, shown
from aeseg.data.inspection.layout import Layout
from aeseg.data.inspection.scan import Seen
from aeseg.data.reading import Reading
from aeseg.data.survey import FILES, spread
from aeseg.types import IGNORE, UserError

MASKS = "background #000000, foreground #ffffff"
_MOST = 64  # most classes of a guess; more values are a photograph or object numbers


class Meaning(NamedTuple):
    """`Folder` fields for labels, notes, and questions with the field that answers each."""

    fields: dict[str, Any]
    notes: tuple[str, ...]
    questions: tuple[str, ...]


def of_labels(root: str, layout: Layout, files: Sequence[str]) -> Meaning:
    """Guess the meaning of label files (paths below the root; one file for COCO, none without labels)."""
    names = _names(root, layout)
    if not files or layout.fields.get("labels", "").endswith(".json"):
        return Meaning({}, (), ())
    if "*" in layout.fields.get("label_name", ""):
        return Meaning(
            {"class_table": ", ".join(names) if len(names) == 2 else MASKS}, ("the masks of an image are joined: foreground",), ()
        )
    if files[0].lower().endswith(".json"):
        return _of_labelme(root, files, names)
    if files[0].lower().endswith(".txt"):
        return _of_yolo(root, files, names)
    classes = _suffixes(files) if not names else ()
    sample = []
    for path in spread([path for path in files if path.lower().endswith(IMAGES)], FILES):
        try:
            sample.append((path, decode.stored(Path(root, path), reading=Reading(pages="0"))))
        except UserError:
            continue
    contents = coding.findings(sample)
    if len(classes) > 1 and contents.values <= {0, 1, IGNORE}:
        fields = {"class_table": ", ".join(("background", *classes)), "label_name": "{stem}_{class}"}
        return Meaning(fields, (f"one mask for each class, by the ends of names: {few(classes)}",), ())
    return _of_findings(contents, layout.table, names)


def of_images(files: Sequence[Seen], root: str, pages: str = "") -> Meaning:
    """Guess the fields for reading images from all headers and, for ranges, a few images' pixels."""
    heads = [(file.path, file.header) for file in files if file.header is not None]
    if not heads:
        return Meaning({}, (), ())
    fields: dict[str, Any] = {}
    questions: list[str] = []
    counts = Counter(head.channels - head.alpha if head.mode != "P" else 3 for _, head in heads)
    channels = counts.most_common(1)[0][0]
    channels = 3 if {*counts} == {1, 3} or any(head.mode == "CMYK" for _, head in heads) else channels
    if pages == "channels":
        channels = max(head.channels * head.pages for _, head in heads)
    if channels != 3:
        fields["channels"] = channels
    odd = [path for path, head in heads if head.channels - head.alpha not in (channels, 1, 3)]
    if odd:
        questions.append(f"{len(odd)} images have other than {channels} channels: {few(odd, 3)}. Take them out, or set bands.")
    paged = [path for path, head in heads if head.pages > 1]
    if paged:
        questions.append(f"{len(paged)} files have several pages ({few(paged, 3)}): --pages=channels, or the number of one page?")
    turned = [path for path, head in heads if head.orientation != 1]
    if turned:
        questions.append(
            f"{len(turned)} images have an EXIF orientation ({few(turned, 3)}): were labels drawn on what viewers show "
            "(--orientation=apply) or on the pixels as stored (ignore)?"
        )
    other = sorted({head.dtype for _, head in heads} - {"uint8", "uint16", "bool"})
    if other:
        low, high = _ends(root, [path for path, head in heads if head.dtype in other])
        fields["value_range"] = (low, high)
        questions.append(
            f"images have {few(other)}: is {low:g} to {high:g}, the range of a sample, right? --value_range=({low:g},{high:g})"
        )
    return Meaning(fields, (), tuple(questions))


def _of_findings(contents: Findings, table_file: str, names: Sequence[str]) -> Meaning:
    fields: dict[str, Any] = {"class_table": table_file} if table_file else {}
    values, questions, notes = contents.values | contents.indices, [], []
    if len(contents.alphas) > 1:
        if contents.colour_under_alpha:
            questions.append("colour and alpha of the labels vary: is the mask the alpha (--coding=alpha) or the colour (colours)?")
        return Meaning({"class_table": MASKS, "coding": "alpha", **fields}, ("the mask is the alpha channel",), tuple(questions))
    if contents.lossy:
        questions.append(
            f"labels are JPEG or lossy WebP ({shown(contents.lossy)}), which changes classes: better save them as PNG. Else "
            "--snap=0.1 takes the nearest class, --binary_threshold=128 a mask."
        )
    if contents.colours:
        if len(contents.colours) > _MOST:
            text = f"labels hold more than {_MOST} colours: anti-aliased, or photographs? Give class_table the true colours, and snap=0.1."
            return Meaning({**fields, "snap": 0.1} if table_file else fields, (), (*questions, text))
        made = _of_colours(sorted(contents.colours))
        if not table_file:
            questions.append(f"{len(contents.colours)} colours are taken for classes: what are they called, which is void? --class_table")
        return Meaning({"class_table": made, **fields}, (f"labels are colour-coded, {len(contents.colours)} colours",), tuple(questions))
    if contents.differs:
        notes.append(f"palettes differ: {contents.differs}")
        fields = {"class_table": _of_colours(sorted(contents.palette)), **fields}
        return Meaning(fields, tuple(notes), ("the palettes of labels differ, so colours are taken for classes: is that right? --coding",))
    rest = values - {IGNORE}
    if values and (values <= {0, IGNORE} or values <= {0, 1}) and (not names or len(names) == 2):
        return Meaning({"class_table": MASKS, **fields}, (f"labels are masks of {few(sorted(values))}",), tuple(questions))
    if len(values) > _MOST or (len(values) > 2 and min(values, default=0) >= 0 and max(rest, default=0) > _MOST and not table_file):
        wide = f"labels hold {len(values)} values up to {max(values)}: a soft mask (--binary_threshold=128), numbers of objects "
        wide += "(threshold=1), or classes with ids of their own (--class_table='7: road, 11: car')?"
        return Meaning({"class_table": MASKS, "binary_threshold": 128, **fields}, (), (*questions, wide))
    if min(rest, default=0) < 0:
        negative = tuple(sorted(value for value in rest if value < 0))
        fields["ignore_ids"] = negative
        questions.append(f"values below 0, {few(negative)}, are taken for void: --ignore_ids={negative}")
        rest = rest - set(negative)
    if not table_file and rest:
        colours = [default_colour(index) for index in range(max(rest) + 1)]
        kept = (
            [index for index in range(max(rest) + 1) if index in rest or index == 0]
            if len(rest) < max(rest)
            else list(range(max(rest) + 1))
        )
        fields["class_table"] = ", ".join(f"{index}: class {index} #{bytes(colours[index]).hex()}" for index in kept if 0 in rest or index)
        questions.append(f"what are the classes {few(sorted(rest), 12)} called, and is one of them void? --class_table, ignore_ids")
    if IGNORE in values:
        notes.append("255 is void")
    return Meaning(fields, (f"labels are ids: {few(sorted(values), 12)}", *notes), tuple(questions))


def _of_colours(colours: Sequence[tuple[int, int, int]]) -> str:
    return ", ".join(
        f"{'background' if not any(colour) else f'class {index}'} #{bytes(colour).hex()}" for index, colour in enumerate(colours)
    )


def _of_labelme(root: str, files: Sequence[str], names: Sequence[str]) -> Meaning:
    counts = Counter(str(shape.get("label", "")) for path in files for shape in labelme.shapes(Path(root, path)))
    words = names or ("background", *(name for name, _ in sorted(counts.items()) if name.lower() not in ("background", "_background_")))
    return Meaning(
        {"class_table": ", ".join(words)}, (f"LabelMe shapes: {few([f'{name} {n}' for name, n in counts.most_common()], 12)}",), ()
    )


def _of_yolo(root: str, files: Sequence[str], names: Sequence[str]) -> Meaning:
    numbers = Counter(number for path in files for number, _ in yolo.polygons(Path(root, path)))
    words = list(names) or [f"class {number}" for number in range(max(numbers, default=0) + 1)]
    questions = () if names else ("what are YOLO's classes called? --class_table='background, ...'",)
    return Meaning({"class_table": ", ".join(("background", *words))}, (f"YOLO polygons of {len(numbers)} classes",), questions)


def _names(root: str, layout: Layout) -> tuple[str, ...]:
    try:
        return tuple(str(entry.get("name", "")) for entry in tables.read(Path(root, layout.table))) if layout.table else ()
    except UserError:
        return ()


def _suffixes(files: Sequence[str]) -> tuple[str, ...]:
    """Return the class names at the end of mask names if images have several masks; () if each image has one."""
    parts = [os.path.splitext(os.path.basename(path))[0].rsplit("_", 1) for path in files]
    if not all(len(part) == 2 for part in parts):
        return ()
    stems, ends = Counter(part[0] for part in parts), Counter(part[1] for part in parts)
    several = len(stems) < len(parts) and len(ends) <= _MOST and all(not end.isdecimal() for end in ends)
    return tuple(sorted(ends)) if several else ()


def _ends(root: str, paths: Sequence[str]) -> tuple[float, float]:
    lows, highs = [], []
    for path in spread(paths, FILES // 2):
        try:
            pixels = decode.raw(Path(root, path), reading=Reading(pages="0"))
            lows.append(float(np.nanmin(pixels)))
            highs.append(float(np.nanmax(pixels)))
        except UserError:
            continue
    return (min(lows), max(highs)) if lows and min(lows) < max(highs) else (0.0, 1.0)
