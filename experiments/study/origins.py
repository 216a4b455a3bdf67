"""Origins of a table's rows: mean and std of their input, their initial weights, and where their settings were chosen."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..recorded import descriptions
from ..recorded.rows import Row

UNTUNED = "Settings are those of the rows' configs; no row was tuned for this table."
"""The text of a paper without the field CHOSEN, which says where its rows' settings were chosen."""
TAKEN = {
    "fine-tune": "the encoder",
    "fine-tune-decoder": "the encoder and the decoder",
    "linear-probe": "the frozen encoder",
    "continue": "all weights",
}
"""What a segmentation takes from the run that it starts from, by the config's field `transfer`."""


def paragraphs(paper: Any, rows: Sequence[Row]) -> list[str]:
    """Return a paragraph on the input, initial weights and tuning of some of the table's rows; nothing without rows."""
    if not rows:
        return []
    described = descriptions.described(paper.ROWS)
    inputs = _grouped({row.name: _input(described[row.name]["config"]) for row in rows})
    starts = _grouped({row.name: _start(row, described[row.name]["config"]) for row in rows})
    chosen = getattr(paper, "CHOSEN", UNTUNED if paper.SPLIT != "validation" else "These rows are trials; their names tell their settings.")
    return [f"Input is standardised by {inputs}. Initial weights: {starts}. {chosen}"]


def _input(config: Mapping[str, Any]) -> str:
    """Return the mean and std by which the encoder standardises images."""
    encoder = config["method"].get("encoder", {})
    if "mean" not in encoder:
        return "no mean and std"
    mean, std = (" ".join(f"{value:g}" for value in encoder[name]) for name in ("mean", "std"))
    return f"mean {mean}, std {std}"


def _start(row: Row, config: Mapping[str, Any]) -> str:
    if not row.init or config.get("transfer") == "scratch":
        return "random"
    return f"{TAKEN.get(config.get('transfer', ''), 'what fits')} of the row's start"


def _grouped(texts: Mapping[str, str]) -> str:
    """Return each text once, with its rows; a text of all rows without them, and the text of most rows last.

    >>> _grouped({"a": "random", "b": "random"}), _grouped({"a": "encoder", "b": "encoder", "c": "random"})
    ('random', 'random (c), encoder (all others)')
    """
    rows: dict[str, list[str]] = {}
    for name, text in texts.items():
        rows.setdefault(text, []).append(name)
    *few, (most, _) = sorted(rows.items(), key=lambda item: len(item[1]))
    others = " (all others)" if few else ""
    return ", ".join([*(f"{text} ({'; '.join(names)})" for text, names in few), f"{most}{others}"])
