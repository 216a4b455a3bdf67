"""Section of a run that restores: its last table of each task, beside the usual methods (restore.json of the workdir)."""

from collections.abc import Mapping
from typing import Any

from .elements import percent, scrolled
from .markup import Markup, joined, tag

HEADS = ("method", "PSNR, dB", "SSIM", "the network is better by, dB", "on, % of the images")


def restorations(last: Mapping[str, Mapping[str, Any]]) -> Markup | None:
    """Return a table for each task, best method first; None if nothing was measured."""
    tables = [_table(task, entry) for task, entry in last.items() if isinstance(entry.get("methods"), Mapping)]
    return joined(tables) if tables else None


def _table(task: str, entry: Mapping[str, Any]) -> Markup:
    rows = []
    for method, each in sorted(entry["methods"].items(), key=lambda item: -item[1]["psnr"]):
        ours = method == "network"
        gains = ("", "") if ours else (f"{each['gain']:+.2f}", percent(each["better"], 0))
        numbers = (f"{each['psnr']:.2f}", f"{each['ssim']:.3f}", *gains)
        rows.append(tag("tr", tag("th", method, scope="row"), *(tag("td", number, class_="number") for number in numbers)))
    head = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in HEADS)))
    what = f"{', '.join(entry.get('noise', ()))}; seed {entry.get('seed')}, {entry.get('images')} images, step {entry.get('step')}."
    return joined(tag("h3", f"Restoration: {task}"), scrolled(tag("table", head, tag("tbody", *rows))), tag("p", what, class_="quiet"))
