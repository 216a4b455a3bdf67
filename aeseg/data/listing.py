"""Listing of folders: each real path once, without opening a file."""

import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from aeseg.data.files import few, shown
from aeseg.types import UserError

_DEPTH = 64  # levels of nested folders


def files_below(root: str, folder: str, kinds: Collection[str], without: Collection[str] = ()) -> tuple[list[str], int]:
    """Return the paths of a folder's files with these endings, relative to `root` and sorted, and the number of links that repeat a file.

    Hidden files, hidden folders and the folders `without` are left out.  Links are followed, and each folder is visited once.
    """
    top = os.path.normpath(os.path.join(root, folder))
    skipped = {os.path.normpath(os.path.join(root, other)) for other in without}
    kinds, visited = tuple(kinds), set()
    plain: list[str] = []
    links: list[tuple[str, str]] = []

    def visit(here: str, inside: str, depth: int) -> None:
        real = os.path.realpath(here)
        if real in visited or depth > _DEPTH:
            return
        visited.add(real)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"Cannot list {shown(here)}: {error.strerror}. Check its permissions.") from error
        folders = []
        for entry in entries:
            if entry.name[0] == ".":
                continue
            path = os.path.join(inside, entry.name)
            if _is_folder(entry):
                if entry.path not in skipped:
                    folders.append((entry.is_symlink(), entry.path, path))
            elif entry.name.lower().endswith(kinds):
                if entry.is_symlink():
                    links.append((path, os.path.realpath(entry.path)))
                else:
                    plain.append(path)
        for _, path, below in sorted(folders):  # visit a folder before links to it
            visit(path, below, depth + 1)

    visit(top, "", 0)
    seen = {os.path.join(os.path.realpath(top), path) for path in plain} if links else set()
    kept = list(plain)
    for path, real in links:
        if real not in seen:
            seen.add(real)
            kept.append(path)
    return sorted(os.path.normpath(os.path.join(folder, path)) for path in kept), len(plain) + len(links) - len(kept)


def check_folder(root: str, folder: str, field: str) -> None:
    """Raise UserError if a field names no folder below the root."""
    top = os.path.normpath(os.path.join(root, folder))
    if not os.path.isdir(top):
        remedy = "('.' is the root itself)" if field == "images" else f"right, or {field}='' to do without"
        raise UserError(
            f"There is no folder {shown(top)} ({field}={folder!r}). Set {field} {remedy}, or see what is there: inspect <folder>."
        )


def passed_over(root: str, folder: str, kinds: Collection[str]) -> str:
    """Return, for an error, the number of files of other kinds in a folder; "" if there are none."""
    others: Counter[str] = Counter()
    for _, _, files in os.walk(Path(root, folder)):
        others.update(os.path.splitext(file)[1].lower() or "no ending" for file in files if not file.lower().endswith(tuple(kinds)))
    return f" (files passed over: {few([f'{count} of {kind}' for kind, count in others.most_common()])})" if others else ""


def absent(root: str, files: Collection[str]) -> list[str]:
    """Return the `files` that do not exist.  Each folder is listed once: on a network disk a listing takes as long as one stat."""
    listings: dict[str, set[str]] = {}
    missing = []
    for file in files:
        folder, base = os.path.split(os.path.join(root, file))
        if folder not in listings:
            listings[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if base not in listings[folder]:
            missing.append(file)
    return missing


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; False for a link to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False
