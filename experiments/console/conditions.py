"""Tables of a segmenter's scores by modality and by light, and the planes that its pictures show."""

from collections.abc import Mapping
from typing import Any

from aeseg.data import planes
from aeseg.runs.conditions import LIGHTS
from aeseg.runs.run import Run


def conditions_table(scores: Mapping[str, Any]) -> str:
    """Format IoU in percent: a line for each subset of the modalities, and columns by light; "" if neither was scored."""
    whole = {"present": ["all images"], "mean_iou": scores.get("mean_iou"), "light": scores.get("light", {})}
    entries = scores.get("subsets") or ([{**whole, "iou": _of(scores)}] if "light" in scores else [])
    if not entries:
        return ""
    names, lights = list(entries[0]["iou"]), [light for light in LIGHTS if light in entries[0].get("light", {})]
    header = ["mean IoU", *names, *(f"{name}, {light}" for light in lights for name in names)]
    width = max(len("present"), *(len(_present(each)) for each in entries))
    lines = [f"{'present':<{width}}  {'  '.join(header)}"]
    for each in entries:
        by_light = [each["light"][light]["iou"][name] for light in lights for name in names]
        values = zip(header, [each["mean_iou"], *each["iou"].values(), *by_light], strict=True)
        lines.append(f"{_present(each):<{width}}  " + "  ".join(f"{_percent(value):>{len(word)}}" for word, value in values))
    return "\n".join(lines)


def further_planes(run: Run) -> tuple[str, ...]:
    """Return the aligned planes that a segmenter reads beside the image."""
    read = [modality.key for modality in getattr(run.method, "modalities", ())[1:] if hasattr(modality, "seen")]
    return (*planes.stacked(run.data.evaluation_transforms), *read)


def _of(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {each["name"]: each["iou"] for each in scores["per_class"]}


def _present(entry: Mapping[str, Any]) -> str:
    return " + ".join(entry["present"])


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
