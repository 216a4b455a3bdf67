"""Statements of texts, each with the comparisons that test it.  A text has one file, named like the table that measures its rows."""

from typing import NamedTuple


class Comparison(NamedTuple):
    """Rows whose metric, seed by seed, is expected to exceed the metric of other rows.

    pairs     (row, row to compare with); a seed's difference is the mean over the pairs
    matters   smallest difference that matters, in the unit of the metric: dB, or a fraction of 1
    bar       what the difference must exceed: 0, or -matters if the rows need only be as good
    table     table of the rows; "" is the table of the claim
    primary   decides the claim; other comparisons are exploratory
    """

    name: str
    pairs: tuple[tuple[str, str], ...]
    metric: str
    matters: float
    bar: float = 0.0
    table: str = ""
    scale: str = "cpu"
    primary: bool = True


class Claim(NamedTuple):
    """A statement of a text, and the comparisons that test it.

    says         the statement
    rows         pattern of the names of the rows that test it in the table of the text
    registered   commit that named its primary comparisons before their first test score, if not that of the table's paper
    """

    says: str
    comparisons: tuple[Comparison, ...] = ()
    rows: str = ""
    registered: str = ""
