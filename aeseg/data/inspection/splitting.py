"""Three disjoint splits of a folder without splits: neighbours and look-alikes stay together if possible."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aeseg import files
from aeseg.data import groups, lists
from aeseg.data.inspection import duplicates
from aeseg.data.sources.folder import Folder
from aeseg.types import UserError

SHARES = (0.7, 0.15, 0.15)

LARGEST = 0.4
"""Largest fraction of all images in one group; larger groups would determine the splits."""


def made(source: Folder, pairs: Sequence[tuple[str, str]], output: str, seed: int) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Write lists of three disjoint splits; return the fields of each split ({} for too few images) and lines to print.

    `pairs` are files that look alike.  If a list cannot hold some names, `Folder` draws the splits with the same seed.
    """
    names = [record.name for record in source.records]
    name_of = {record.image: record.name for record in source.records}
    of, said = chosen_groups(names, [(name_of[one], name_of[other]) for one, other in pairs])
    lines = [f"{len(set(of))} groups of {len(names)} images: {said}"]
    listed = all(lists.stands_for_itself(name) for name in names)
    if not listed:
        lines.append("Warning: some names cannot stand in a list: splits are drawn by names, which does not keep look-alikes together")
        of = groups.groups(names)
    splits: dict[str, dict[str, Any]] = {}
    for split in groups.SPLITS:
        try:
            chosen = groups.split_groups(of, names, split, SHARES, seed, True, bool(source.labels))
        except UserError as error:
            return {}, [*lines, str(error)]
        path = Path(output, f"{split}.txt").absolute()
        if listed:
            files.write(str(path), "".join(f"{names[index]}\n" for index in chosen))
        splits[split] = {"list_file": str(path)} if listed else {"split": split, "split_seed": seed}
        lines.append(f"{split}: {len(chosen)} images, drawn by seed {seed}")
    return splits, lines


def chosen_groups(names: Sequence[str], alike: Sequence[tuple[str, str]]) -> tuple[list[str], str]:
    """Return the group of each name and a description: the first kind of grouping whose groups are small enough."""
    by_name, by_look = groups.groups(names), duplicates.clusters(names, alike)
    joins = [(f"name {one}", f"look {other}") for one, other in zip(by_name, by_look, strict=True)]
    both = duplicates.clusters([*(one for one, _ in joins), *(other for _, other in joins)], joins)[: len(names)]
    kinds = (
        (both, "folders, prefixes or neighbours in numbered names, and look-alikes, stay together"),
        (by_look, "look-alikes stay together; folders, prefixes or neighbours are too large as groups with them"),
        (by_name, "Warning: most images look alike, so splits share look-alikes; folders, prefixes or neighbours stay together"),
    )
    for group, said in kinds:
        if len(set(group)) >= len(SHARES) and max(Counter(group).values()) <= max(LARGEST * len(names), 1):
            return group, said
    return list(names), "Warning: groups would be too large, so images are drawn one by one, and splits may share look-alikes"
