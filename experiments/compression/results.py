"""Recorded numbers of `compress --table`, for the results page."""

from typing import Any

from ..recorded import measurements

RESULTS = "compress"
"""Name of the results file below experiments/results."""

PICTURES = {"curves": "pictures/compress_curves.png", "the same images": "pictures/compress.jpg"}


def table() -> str:
    """Return the last recorded comparison as Markdown with links to its pictures, or "" if none is recorded."""
    lines = measurements.lines(RESULTS)
    if not lines:
        return ""
    last = [line for line in lines if all(line[name] == lines[-1][name] for name in ("commit", "seconds", "input"))]
    head = ("coder", "setting", "bits per pixel", "PSNR, dB", "MS-SSIM")
    about = f"{lines[-1]['images']} of {lines[-1]['of']} images of {lines[-1]['input']}"
    rows = [f"**Compression of {about}: sizes of real files**", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for line in last:
        if "coder" in line:
            rows.append(f"| {_name(line)} | {line['setting']:g} | {line['bits']:.4f} | {line['psnr']:.2f} | {_number(line['ms_ssim'])} |")
    rows += ["", "| Bjontegaard difference of the rate | PSNR | MS-SSIM |", "|---|---|---|"]
    for line in last:
        if "tested" in line:
            psnr, similarity = (_percent(line[f"bd_rate_{metric}"]) for metric in ("psnr", "ms_ssim"))
            rows.append(f"| {line['tested']} from {line['anchor']} | {psnr} | {similarity} |")
    pictures = ", ".join(f"[{name}]({path})" for name, path in PICTURES.items())
    device = f"{lines[-1]['device']}, commit {lines[-1]['commit']}, {lines[-1]['seconds']:.0f} s"
    notes = "A network's setting is the factor of its trained quantiser. Negative differences mean smaller files at equal quality."
    return "\n".join([*rows, "", f"{notes} {device}. Pictures: {pictures}."])


def _name(line: dict[str, Any]) -> str:
    return f"{line['coder']}, lambda {line['lmbda']:g}, {line['steps']:,} steps" if "lmbda" in line else line["coder"]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return "no common quality" if value is None else f"{value:+.1f} %"
