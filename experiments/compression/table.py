"""`compress --table`: rates and qualities of networks, JPEG and WebP on the same images."""

import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aeseg import files
from aeseg.compression.curves import bjontegaard
from aeseg.compression.similarity import decibels
from aeseg.data.files import shown as printable
from aeseg.data.survey import spread
from aeseg.models.entropy import LOG_STEP
from aeseg.runs import evaluations
from aeseg.runs import workdir as workdirs
from aeseg.types import UserError

from ..console.progress import Progress
from ..machine.provenance import provenance
from ..predictions.outputs import Outputs
from ..recorded import measurements
from . import codecs, drawing, measures
from .measures import Coder, Point
from .results import RESULTS

METRICS = ("psnr", "ms_ssim")
ALL = "all networks"


def run(flags: Any, paths: Sequence[str]) -> int:
    """Measure all coders on all images; return the exit code, 1 if a file could not be read."""
    began, folders = time.perf_counter(), named([word for word in flags.init.split(",") if word])
    if not folders:
        raise UserError("Expected workdirs, separated by commas; got none. Set --init=runs/low,runs/high.")
    networks = {name: codecs.codec_of(workdir, flags.step, writes=True) for name, workdir in folders.items()}
    if len(channels := {codec.channels for codec in networks.values()}) > 1:
        raise UserError(f"Expected networks with the same number of channels; got {sorted(channels)}. Compare them one by one.")
    coders: dict[tuple[str, float], Coder] = {
        (kind, setting): measures.pillow(kind, setting) for kind, settings in measures.RIVALS.items() for setting in settings
    }
    for name, codec in networks.items():
        coders |= {(name, round(math.exp(step * LOG_STEP), 3)): measures.network(codec, step) for step in measures.COARSER}
    chosen, outputs = spread(paths, flags.most or len(paths)), Outputs(flags.output, paths, "compress")
    for file in ("table.json", "curves.png", "comparison.png"):
        outputs.path("", *os.path.splitext(file))
    outputs.claim((), ())
    points, failed, examples = measured(chosen, coders, channels.pop())
    outputs.record({"init": flags.init, "images": sorted(set(chosen) - failed.keys()), "failed": failed})
    for path, reason in failed.items():
        print(f"Skipped {printable(path)}: {printable(reason.removeprefix(path).strip())}", file=sys.stderr)
    if not points:
        raise UserError("No image could be read. Set another --input.")
    differences = compared(points, list(folders))
    images = len(chosen) - len(failed)
    about = {"images": images, "of": len(paths), "input": os.path.basename(os.path.normpath(flags.input))}
    about |= {"seconds": round(time.perf_counter() - began, 1), **provenance()}
    trained = {name: _trained(folders[name], codec.identity.hex()) for name, codec in networks.items()}
    lines = [{**point._asdict(), **trained.get(point.coder, {}), **about} for point in points]
    lines = [measures.without_nan(line) for line in (*lines, *({**each, **about} for each in differences))]
    files.write(os.path.join(flags.output, "table.json"), json.dumps(lines, indent=1) + "\n")
    drawing.curves(os.path.join(flags.output, "curves.png"), points)
    drawing.comparison(os.path.join(flags.output, "comparison.png"), examples, points, list(folders))
    for name, workdir in folders.items():
        _add(workdir, name, points, differences, about)
    if flags.record:
        for line in lines:
            measurements.append(RESULTS, line)
    print("\n" + text(points, differences))
    print(f"\n{images} images of {about['input']} in {about['seconds']:.0f} s.")
    print(f"numbers     {flags.output}/table.json\npictures    {flags.output}/curves.png, {flags.output}/comparison.png", flush=True)
    return 1 if failed else 0


def measured(
    paths: Sequence[str], coders: Mapping[tuple[str, float], Coder], channels: int
) -> tuple[list[Point], dict[str, str], list[dict[Any, Any]]]:
    """Return (a point per coder and setting, {path: why it cannot be read}, the first images with their decoded versions)."""
    bits, pixels = dict.fromkeys(coders, 0), 0
    qualities: dict[Any, list[dict[str, float]]] = {key: [] for key in coders}
    failed: dict[str, str] = {}
    examples: list[dict[Any, Any]] = []
    with Progress("comparing", len(paths)) as progress:
        for index, path in enumerate(paths):
            try:
                image = codecs.image_of(path, channels)
            except (UserError, MemoryError) as error:
                failed[path] = str(error) or "out of memory"
                continue
            pixels += image.shape[0] * image.shape[1]
            decoded = {key: coder(image) for key, coder in coders.items()}
            for key, (size, other) in decoded.items():
                bits[key] += 8 * size
                qualities[key].append(measures.quality(image, other))
            if len(examples) < drawing.ROWS:
                examples.append({"name": os.path.basename(path), "image": image, "decoded": decoded})
            progress.at(index + 1)
    means = {key: {name: float(np.mean([one[name] for one in each])) for name in each[0]} for key, each in qualities.items() if each}
    return [Point(*key, bits[key] / pixels, mean["psnr"], mean["ms_ssim"]) for key, mean in means.items()], failed, examples


def named(workdirs_: Sequence[str]) -> dict[str, str]:
    """Return {name: workdir}: names of folders, or paths if two folders, or a folder and another coder, have the same name.

    >>> named(["runs/low", "runs/high"]), named(["a/run", "b/run"]), named(["runs/JPEG"])
    ({'low': 'runs/low', 'high': 'runs/high'}, {'a/run': 'a/run', 'b/run': 'b/run'}, {'runs/JPEG': 'runs/JPEG'})
    """
    names = [os.path.basename(os.path.normpath(workdir)) for workdir in workdirs_]
    unique = len({*names, *measures.RIVALS, ALL}) == len(names) + len(measures.RIVALS) + 1
    return dict(zip(names if unique else workdirs_, workdirs_, strict=True))


def compared(points: Sequence[Point], networks: Sequence[str]) -> list[dict[str, Any]]:
    """Return the Bjontegaard differences, from JPEG and from WebP, of each network, all networks together, and WebP."""
    groups = {name: (name,) for name in networks} | ({ALL: tuple(networks)} if len(networks) > 1 else {})
    lines = []
    for tested, names in {**groups, "WebP": ("WebP",)}.items():
        for anchor in measures.RIVALS:
            if tested != anchor:
                curves = [[curve(points, coders, metric) for coders in ((anchor,), names)] for metric in METRICS]
                rates = {f"bd_rate_{metric}": bjontegaard(*pair) for metric, pair in zip(METRICS, curves, strict=True)}
                lines.append({"tested": tested, "anchor": anchor, **rates})
    return lines


def curve(points: Sequence[Point], coders: Sequence[str], metric: str) -> list[tuple[float, float]]:
    """Return (bits, decibels) of the settings that no other setting of these coders beats in both."""
    rates = [
        (point.bits, point.psnr if metric == "psnr" else decibels(point.ms_ssim))
        for point in points
        if point.coder in coders and not math.isnan(getattr(point, metric))
    ]
    return sorted((rate, value) for rate, value in rates if not any(less <= rate and more > value for less, more in rates))


def text(points: Sequence[Point], differences: Sequence[Mapping[str, Any]]) -> str:
    """Return the table and the differences as text."""
    width = max(len(point.coder) for point in points)
    lines = [f"{'coder':{width}}  setting  bits per pixel   PSNR dB   MS-SSIM"]
    lines += [f"{p.coder:{width}}  {p.setting:7g}  {p.bits:14.4f}  {p.psnr:8.2f}  {p.ms_ssim:8.4f}" for p in points]
    lines.append("\nBjontegaard difference of the rate at equal quality (negative: smaller files)")
    for line in differences:
        psnr, similarity = (_percent(line[f"bd_rate_{metric}"]) for metric in METRICS)
        lines.append(f"{line['tested']} from {line['anchor']}: {psnr} PSNR, {similarity} MS-SSIM")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "no common quality in" if math.isnan(value) else f"{value:+.1f} % at equal"


def _trained(workdir: str, identity: str) -> dict[str, Any]:
    config = workdirs.stored_config(workdir)
    return {"seed": config.seed, "steps": config.steps, "lmbda": config.method.lmbda, "identity": identity}


def _add(workdir: str, name: str, points: Sequence[Point], differences: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> None:
    """Add the point of the trained quantiser and the differences to the evaluations of a workdir, which `report` shows."""
    trained = next(point for point in points if point.coder == name and point.setting == 1)
    scores = {"bits_per_pixel": trained.bits, "psnr": trained.psnr, "ms_ssim": trained.ms_ssim}
    for line in differences:
        if line["tested"] == name:
            scores |= {f"{rate} from {line['anchor']}": line[rate] for rate in ("bd_rate_psnr", "bd_rate_ms_ssim")}
    evaluations.add(workdir, f"files of {about['input']}", measures.without_nan({**scores, **about}))
