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
    rows = [title, "", "| degraded by | data | method | PSNR | SSIM | the network is better by | on images | commit |", "|---" * 8 + "|"]
    for line in last.values():
        given = [", ".join(line["noise"]), f"{line['data']}, {line['images']} images, step {line['step']}"]
        for method, each in sorted(line["methods"].items(), key=lambda item: -item[1]["psnr"]):
            gain = ["", ""] if method == OURS else [f"{each['gain']:+.2f}", f"{100 * each['better']:.0f} %"]
            cells = [*given, method, f"{each['psnr']:.2f}", f"{each['ssim']:.3f}", *gain, line["commit"]]
            rows.append(f"| {' | '.join(cells)} |")
            given = ["", ""]
    return "\n".join(rows)
