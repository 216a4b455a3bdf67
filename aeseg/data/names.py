"""Name templates that match an image to its label, and affixes that are inferred from all names.

{stem}_leftImg8bit  and  {stem}_gtFine_labelIds        one label for each image
{stem}_{class}      or   {class}/{stem}                one mask for each class
{stem}/images/{stem} and {stem}/masks/*                one mask for each object
{stem}_{channel}                                       one file for each channel of an image
"""

import os
import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import NamedTuple

from aeseg.data.files import LABELS, shown
from aeseg.types import UserError

_FIELDS = ("stem", "class", "channel")


class Part(NamedTuple):
    """A file that matches a template: the record's stem, the class or channel in its name ("" if none), its path."""

    stem: str
    key: str
    path: str


def normal(name: str) -> str:
    """Return a name in one Unicode form: macOS writes ä as two characters (NFD), other systems as one (NFC)."""
    return unicodedata.normalize("NFC", name)


def stem_of(path: str, folder: str) -> str:
    """Return a file's path below a folder, without its ending."""
    return normal(os.path.splitext(os.path.relpath(path, folder or "."))[0])


def matches(template: str, paths: Sequence[str], folder: str, classes: Sequence[str] = ()) -> list[Part]:
    """Return the files that match a template, relative to `folder`; a template with an ending matches only that ending."""
    base, ending = os.path.splitext(template)
    if ending.lower() not in LABELS:
        base, ending = template, ""
    pattern = re.compile(_pattern(base, classes))
    parts = []
    for path in paths:
        inside, own_ending = os.path.splitext(normal(os.path.relpath(path, folder or ".")))
        match = pattern.fullmatch(inside)
        if match and (not ending or own_ending.lower() == ending.lower()):
            groups = match.groupdict()
            parts.append(Part(groups["stem"], groups.get("class") or groups.get("channel") or "", path))
    return parts


def is_many(template: str) -> bool:
    """Return whether several files of one record may match."""
    return "*" in template or "{class}" in template or "{channel}" in template


def affixes(images: Collection[str], labels: Collection[str]) -> tuple[str, str]:
    """Infer templates of images and labels whose names differ by a common prefix or suffix; ("", "") if none fits all images.

    Affixes end at a character that is not a letter or digit, so numbers stay intact.
    """
    options = [(_common(images, *ends), _common(labels, *ends)) for ends in ((False, True), (True, False), (True, True))]
    for image, label in options:
        stems = [
            {name[len(before) : len(name) - len(after)] for name in names} for (before, after), names in ((image, images), (label, labels))
        ]
        whole = "" not in stems[0] | stems[1] and len(stems[0]) == len(images) and len(stems[1]) == len(labels)
        if whole and stems[0] & stems[1] and (stems[0] <= stems[1] or stems[1] <= stems[0]):
            return f"{image[0]}{{stem}}{image[1]}", f"{label[0]}{{stem}}{label[1]}"
    return "", ""


def _common(names: Collection[str], prefix: bool, suffix: bool) -> tuple[str, str]:
    """Return the common prefix and suffix of all names, cut at word boundaries."""
    before = _shared(list(names)) if prefix else ""
    after = _shared([name[::-1] for name in names])[::-1] if suffix else ""
    return re.sub(r"[a-zA-Z0-9]*\Z", "", before), re.sub(r"\A[a-zA-Z0-9]*", "", after)


def _shared(words: Sequence[str]) -> str:
    """Return the longest common prefix."""
    first, last = min(words, default=""), max(words, default="")
    return first[: next((position for position, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))]


def _pattern(template: str, classes: Sequence[str]) -> str:
    """Return the regular expression of a template; a repeated field stands for the same text."""
    pattern, seen = "", set()
    for piece in re.split(r"(\{[^{}]*\}|\*)", normal(template)):
        name = piece[1:-1] if piece[:1] == "{" else ""
        if piece == "*":
            pattern += "[^/]*"
        elif name and name not in _FIELDS:
            raise UserError(f"A template of names has {{stem}}, {{class}}, {{channel}} and *; got {template!r}.")
        elif name in seen:
            pattern += f"(?P={name})"
        elif name:
            choices = "|".join(
                re.escape(word) for word in sorted({w for c in classes for w in (c, c.replace(" ", "_"))}, key=len, reverse=True)
            )
            pattern += {"stem": "(?P<stem>.+?)", "class": f"(?P<class>{choices or '[^/]+'})", "channel": "(?P<channel>[^/_. -]+)"}[name]
            seen.add(name)
        else:
            pattern += re.escape(piece)
    if "stem" not in seen:
        raise UserError(f"A template of names needs {{stem}}, what image and label have in common; got {template!r}.")
    return pattern


def check_one(parts: Sequence[Part], what: str) -> dict[str, str]:
    """Return {stem: path}; UserError if a record has two files."""
    files: dict[str, str] = {}
    for part in parts:
        if part.stem in files:
            raise UserError(
                f"Two files in {what} have one name: {shown(files[part.stem])} and {shown(part.path)}. Rename or remove one of them."
            )
        files[part.stem] = part.path
    return files
