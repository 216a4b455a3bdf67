"""Selection of a folder's records for a split."""

from collections.abc import Collection, Sequence

from aeseg.data import groups

LEAST = 3
"""With fewer labelled images, pretraining draws its splits from all images."""


def of_split(
    names: Sequence[str], labelled: Collection[str], which: str, shares: Sequence[float | int], seed: int, group_by: str = "auto"
) -> list[int]:
    """Return the indices of one split's images for pretraining, ascending: a segmenter's split of the folder, plus unlabelled images.

    The images named in `labelled` are split by `groups.split`.  All others are in train, except neighbours (by group) of validation or
    test images.
    """
    known = [index for index, name in enumerate(names) if name in set(labelled)]
    if len(known) < LEAST:
        return groups.split(names, which, shares, seed, group_by, labelled=False)
    of_known = [names[index] for index in known]
    chosen = {one: [known[index] for index in groups.split(of_known, one, shares, seed, group_by, labelled=False)] for one in groups.SPLITS}
    if which != "train":
        return chosen[which]
    held = {index for one in ("validation", "test") for index in chosen[one]} - set(chosen["train"])
    others = set(range(len(names))) - set(known) - beside(names, held, group_by)
    return sorted({*chosen["train"], *others})


def beside(names: Sequence[str], held: Collection[int], group_by: str = "auto") -> set[int]:
    """Return the indices `held` and all others in their groups; only `held` if that would be all indices."""
    of = groups.groups(names, group_by)
    taken = {of[index] for index in held}
    near = {index for index, group in enumerate(of) if group in taken}
    return near if len(near) < len(names) else set(held)
