"""Tables: one file each, found by its name; a row is a run of an entry point with its own config."""

from types import ModuleType, SimpleNamespace
from typing import NamedTuple

from aeseg.types import UserError

SCALES = ("cpu", "paper")
"""What a laptop trains, and what the paper trained: two tables, whose numbers never stand side by side."""


class Row(NamedTuple):
    """One line of a table.

    `command` is pretrain or segment, `config` what --config takes, `overrides` the fields set on top of it; `init` names
    the row whose encoder it starts from, or all of it where it continues (the same seed's); `compare` the row that it is
    compared with, seed by seed.  `command` evaluate trains nothing: the run of `init` is scored once more, otherwise.
    `paper` holds what was published, in % by metric; `tolerance` how many points our mean may be away from it, `citation`
    where it stands.  `best` scores the checkpoint that was best on validation, by the config's `best`, and not the last;
    `batch_statistics` with batch norm by the statistics of each image itself, and not the running averages.
    """

    name: str
    command: str
    config: str
    overrides: dict[str, object] = {}  # noqa: RUF012 (never changed)
    init: str = ""
    compare: str = ""
    paper: dict[str, float] = {}  # noqa: RUF012 (never changed)
    tolerance: float = 0.0
    citation: str = ""
    scale: str = "cpu"
    best: bool = False
    batch_statistics: bool = False


def at_scale(paper: ModuleType, scale: str) -> SimpleNamespace:
    """The table with its rows of one scale; where its TITLE, SEEDS or NOTE differ by scale, they are dicts by scale.

    A scale without rows is a UserError.
    """
    chosen = {name: value for name, value in vars(paper).items() if name.isupper()}
    chosen["ROWS"] = tuple(row for row in paper.ROWS if row.scale == scale)
    if not chosen["ROWS"]:
        there = sorted({row.scale for row in paper.ROWS})
        raise UserError(f"{paper.TITLE!r} has rows of scale {', '.join(there)}; got {scale!r}. Set --scale to one of these.")
    for name in ("TITLE", "SEEDS", "NOTE"):
        if isinstance(chosen.get(name), dict):
            chosen[name] = chosen[name][scale]
    return SimpleNamespace(**chosen)
