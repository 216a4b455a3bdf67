"""Disjoint splits by group: images of one sequence, folder or neighbourhood stay together."""

import os
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from aeseg.types import UserError

SPLITS = ("train", "validation", "test")
ENOUGH = 10
"""Fewest groups that prefixes or folders must make to be used."""


def groups(names: Sequence[str], group_by: str = "auto") -> list[str]:
    """Return the group of each name.

    "none": each name is its own group; "folder": the folder; "prefix": the name without its last number; "blocks": neighbours in
    numbered sequences, each block 1/40 of the names but at most 16; or a template such as "{group}_*".  "auto": folders, else
    prefixes, if they make 10 or more groups with at most a quarter of the names each; else blocks if names are numbered; else none.
    """
    if "{group}" in group_by:
        pattern = re.compile("(.+?)".join(".*".join(map(re.escape, part.split("*"))) for part in group_by.split("{group}", 1)))
        matches = [pattern.fullmatch(name) for name in names]
        without = [name for name, match in zip(names, matches, strict=True) if match is None]
        if without:
            raise UserError(f"{len(without)} names do not fit group_by={group_by!r}, such as {without[0]!r}. Widen the template with *.")
        return [match[1] for match in matches if match]
    if group_by not in ("auto", "none", "folder", "prefix", "blocks"):
        raise UserError(f"group_by is auto, none, folder, prefix, blocks or a template with {{group}}; got {group_by!r}.")
    made = {"none": list(names), "folder": [os.path.dirname(name) for name in names], "prefix": [_prefix(name) for name in names]}
    if group_by in made:
        return made[group_by]
    if group_by == "auto":
        for kind in ("folder", "prefix"):
            sizes = Counter(made[kind]).values()
            if ENOUGH <= len(sizes) < len(names) and max(sizes) <= len(names) / 4:
                return made[kind]
        if sum(_prefix(name) != name for name in names) < len(names) / 2:
            return list(names)
    return _blocks(names)


def split(
    names: Sequence[str], which: str, shares: Sequence[float | int], seed: int, group_by: str = "auto", labelled: bool = True
) -> list[int]:
    """Return the indices of one split's names, ascending.  Splits share no group; the seed draws the groups of a larger data set.

    Each group, in random order, goes to the split that lacks most of its share.  Fewer than 3 groups cannot make 3 splits: then
    unlabelled images are in all splits, and labelled images raise a UserError.
    """
    if which not in SPLITS:
        raise UserError(f"split is {', '.join(SPLITS)} or '' for all records; got {which!r}.")
    if len(shares) != 3 or min(shares) < 0 or sum(shares) <= 0:
        raise UserError(f"splits are three shares, for {', '.join(SPLITS)}, at least 0; got {tuple(shares)}.")
    return split_groups(groups(names, group_by), names, which, shares, seed, group_by == "auto", labelled)


def split_groups(
    of: Sequence[str], names: Sequence[str], which: str, shares: Sequence[float | int], seed: int, loose: bool = True, labelled: bool = True
) -> list[int]:
    """Return `split` for given groups; `loose` splits single names if there are too few groups."""
    members: dict[str, list[int]] = {}
    for index, group in enumerate(of):
        members.setdefault(group, []).append(index)
    wanted = [number for number, share in enumerate(shares) if share > 0]
    if len(members) < len(wanted) and loose:
        members = {name: [index] for index, name in enumerate(names)}
    if len(members) < len(wanted):
        if labelled:
            raise UserError(
                f"{len(members)} images or groups cannot make {len(wanted)} splits. To train and score a segmenter takes at least "
                f"{len(wanted)} labelled images: add some; set splits, such as (0.5, 0.5, 0), to leave one out; or pretrain (labels='')."
            )
        return list(range(len(names)))
    order = sorted(members)
    np.random.default_rng(seed).shuffle(order)
    held = np.zeros(3)
    target = np.array(shares, float) / sum(shares) * len(names)
    chosen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for position, group in enumerate(order):
        left = len(order) - position
        empty = [number for number in wanted if not chosen[number]]
        lacking = np.where(target > 0, target - held, -np.inf)
        number = int(np.argmax(lacking))
        if len(empty) >= left and number not in empty:
            number = empty[0]  # each split gets a group
        chosen[number] += members[group]
        held[number] += len(members[group])
    return sorted(chosen[SPLITS.index(which)])


def _prefix(name: str) -> str:
    """Return the name without its last number: a_0001 -> a_, seq/frame12b -> seq/frame*b."""
    folder, base = os.path.split(name)
    return os.path.join(folder, re.sub(r"\d+(?!.*\d)", "*", base))


def _blocks(names: Sequence[str]) -> list[str]:
    """Group neighbours in each numbered sequence."""
    length = int(np.clip(len(names) // 40, 1, 16))
    sequences: dict[str, list[tuple[int, int]]] = {}
    for index, name in enumerate(names):
        number = re.findall(r"\d+", os.path.basename(name))
        sequences.setdefault(_prefix(name), []).append((int(number[-1]) if number else 0, index))
    group = [""] * len(names)
    for prefix, numbered in sequences.items():
        for position, (_, index) in enumerate(sorted(numbered)):
            group[index] = f"{prefix} {position // length}"
    return group
