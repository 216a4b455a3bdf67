"""Tables: one file each, found by its name; a row is a run of an entry point with its own config."""

from typing import NamedTuple


class Row(NamedTuple):
    """One line of a table.

    `command` is pretrain or segment, `config` what --config takes, `overrides` the fields set on top of it; `init` names
    the row whose encoder it starts from (the same seed's); `compare` the row that it is compared with, seed by seed.
    """

    name: str
    command: str
    config: str
    overrides: dict[str, object] = {}  # noqa: RUF012 (never changed)
    init: str = ""
    compare: str = ""
