"""Recorded numbers of `restore --table`, for the results page."""

from ..recorded import measurements
from .table import OURS

RESULTS = "restore"


def table() -> str:
    """Return the last recorded table of each task and data set as one Markdown table, or "" if none is recorded."""
    last = {(line["task"], line["data"]): line for line in measurements.lines(RESULTS)}
    if not last:
        return ""
    title = "**Restored images: mean PSNR in dB and SSIM of the network and of the usual methods, on the same degraded images**"
    head = ("degraded by", "data", "method", "PSNR", "SSIM", "the network is better by", "on images", "seed", "seconds", "device", "commit")
    rows = [title, "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for line in last.values():
        given = [", ".join(line["noise"]), f"{line['data']}, {line['images']} images, step {line['step']}"]
        measured = [str(line["seed"]), f"{line['seconds']:.0f}", line["device"], line["commit"]]
        for method, each in sorted(line["methods"].items(), key=lambda item: -item[1]["psnr"]):
            gain = ["", ""] if method == OURS else [f"{each['gain']:+.2f}", f"{100 * each['better']:.0f} %"]
            cells = [*given, method, f"{each['psnr']:.2f}", f"{each['ssim']:.3f}", *gain, *measured]
            rows.append(f"| {' | '.join(cells)} |")
            given, measured = ["", ""], ["", "", "", ""]
    return "\n".join(rows)
