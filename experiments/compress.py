"""Compress images with a trained hyperprior, or compare it with JPEG and WebP.

python -m experiments.compress --init=runs/compression --input=photos --output=compressed                  a folder and its subfolders
python -m experiments.compress --init=runs/compression --input=photos --output=compressed --quantiser=1.5  smaller files
python -m experiments.compress --table --init=runs/low,runs/high --input=photos --output=table             rates and qualities of coders

Writes <name>.aeseg for every image, overview.png, and compressed.json with the bytes, PSNR and MS-SSIM of each file.  `decompress` reads
them with the same --init.  Files keep only the pixels: alpha and metadata are left out, and a grey image becomes RGB if the network reads
RGB.  The first call writes codec-<step>.npz into the workdir, the integers that a decoder on another machine needs.

--table compresses every image with JPEG, WebP and each network at several qualities, and prints bits per pixel of real files, PSNR, MS-SSIM
and Bjontegaard differences; it writes table.json, curves.png and comparison.png, and adds the numbers to the metrics.json of each workdir.

If files cannot be read, the command lists them and exits with 1.  It overwrites only results of an earlier run.
"""

import math
import os
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from aeseg import files
from aeseg.compression.container import SUFFIX
from aeseg.data.files import shown as printable
from aeseg.inference import draw
from aeseg.models.entropy import LOG_STEP
from aeseg.runs.train import PICTURES
from aeseg.types import UserError

from .compression import codecs, measures, table
from .console import cli
from .console.progress import Progress
from .machine import process
from .predictions.inputs import input_files, output_names
from .predictions.outputs import Outputs


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code, 1 if a file could not be read or compressed."""
    flags = cli.parse(
        argv,
        __doc__,
        **codecs.FLAGS,
        output=("compressed", "folder for the results"),
        quantiser=(1.0, "rounding of the features relative to training, such as 1.5: larger gives smaller files"),
        table=(False, "compare the networks of --init (between commas) with JPEG and WebP"),
        most=(0, "--table: number of images to compare, evenly spread; 0: all"),
        record=(False, "--table: also append the numbers to experiments/results/compress.jsonl"),
    )
    coarser = steps_of(flags.quantiser)
    if flags.most < 0:
        raise UserError(f"Expected a number of images, or 0 for all; got --most={flags.most}. Set --most=40.")
    if flags.record and not flags.table:
        raise UserError("--record appends the numbers of --table. Set --table, too.")
    process.start(portable=True)
    began = time.perf_counter()
    paths = input_files(flags.input, flags.output)
    if flags.table:
        return table.run(flags, paths)
    codec = codecs.codec_of(flags.init, flags.step, writes=True)
    out, names = Outputs(flags.output, paths, "compress"), output_names(paths)
    out.claim([("", SUFFIX)], names)
    failed: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    made: dict[str, dict[str, Any]] = {}
    with Progress("compressing", len(paths)) as progress:
        for index, (path, name) in enumerate(zip(paths, names, strict=True)):
            try:
                image = codecs.image_of(path, codec.channels)
                file = codec.compress(image, coarser)
            except (UserError, MemoryError) as error:
                failed[path] = str(error) or "out of memory"
                continue
            with out.writing():
                files.write(out.path("", name, SUFFIX), file.content)
            made[path] = {"name": name, "pixels": image.shape[0] * image.shape[1], "bytes": len(file.content)}
            made[path] |= measures.quality(image, file.image)
            if len(rows) < PICTURES:
                rows.append({"name": f"{name}: {summary([made[path]])}", "image": image, "decompressed": file.image})
            progress.at(index + 1)
    numbers = {path: measures.without_nan(one) for path, one in made.items()}
    out.record({"init": flags.init, "quantiser": flags.quantiser, "images": numbers, "failed": failed})
    if rows:
        panel = os.path.join(flags.output, "overview.png")
        columns = {column: [row[column] for row in rows] for column in ("image", "decompressed")}
        draw.panel(columns, panel, names=[row["name"] for row in rows])
    for path, reason in failed.items():
        print(f"Skipped {printable(path)}: {printable(reason.removeprefix(path).strip())}", file=sys.stderr)
    print(f"\n{len(made)} of {len(paths)} images in {time.perf_counter() - began:.0f} s.")
    if made:
        print(f"sizes       {sizes(made)}: {summary(list(made.values()))}")
        print(f"results     {flags.output}, *{SUFFIX}\npictures    {panel}")
        step = [f"--step={flags.step}"] if flags.step >= 0 else []
        following = shlex.join([f"--init={flags.init}", *step, f"--input={flags.output}", "--output=decompressed"])
        print(f"next        {process.launcher()}decompress {following}", flush=True)
    return 1 if failed else 0


def steps_of(quantiser: float) -> int:
    """Return the whole number of steps of scale that is nearest to a factor; UserError for a factor outside 1/8 .. 8."""
    if not 1 / 8 <= quantiser <= 8:
        raise UserError(f"A quantiser is a factor from 0.125 to 8; got --quantiser={quantiser}. Set --quantiser=1.5 for smaller files.")
    return round(math.log(quantiser) / LOG_STEP)


def sizes(made: dict[str, dict[str, Any]]) -> str:
    """Return the bytes of the input files and of the compressed files."""
    before, after = sum(os.path.getsize(path) for path in made), sum(one["bytes"] for one in made.values())
    return f"{before:,} -> {after:,} bytes"


def summary(made: Sequence[dict[str, Any]]) -> str:
    """Return bits per pixel over all pixels, and the mean qualities."""
    bits = 8 * sum(one["bytes"] for one in made) / sum(one["pixels"] for one in made)
    similarity = np.mean([one["ms_ssim"] for one in made])
    ending = "" if math.isnan(similarity) else f", MS-SSIM {similarity:.4f}"
    return f"{bits:.3f} bits per pixel, PSNR {np.mean([one['psnr'] for one in made]):.2f} dB{ending}"


if __name__ == "__main__":
    cli.main(run)
