"""A row of a table: a command with a config and its changes."""

from typing import Any, NamedTuple


class Row(NamedTuple):
    """One row of a table.

    command               pretrain, segment, or evaluate, which scores the run of `init` again with other settings
    config, overrides     value of --config, and the fields set on top of it
    init                  row of the same seed whose encoder the run starts from, or whose complete model it continues
    compare               row to compare with, seed by seed
    paper                 published values in %, by metric
    tolerance             largest accepted distance, in points, of our mean from the published value
    citation              source of the published values
    best                  score the best checkpoint on validation, by the config's `best`, instead of the last
    batch_statistics      score with batch norm statistics of each image instead of running averages
    reference_boundaries  also score boundaries as SegNet's script does
    lighting              also score lit and dark images apart
    seeds                 number of seeds, if not the table's SEEDS; a row needs as many as the rows that start from it
    revision              increment to measure the row again when the code, not the config, changes what it computes
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
    reference_boundaries: bool = False
    seeds: int = 0
    lighting: bool = False
    revision: int = 0


def seeds_of(row: Row, paper: Any) -> int:
    """Return the number of seeds of a table's row."""
    return row.seeds or int(paper.SEEDS)
