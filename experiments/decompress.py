"""Decompress the files that `compress` wrote.

python -m experiments.decompress --init=runs/compression --input=compressed --output=decompressed     a folder and its subfolders

Writes <name>.png for every file, overview.png and decompressed.json.  --init and --step name the network that compressed the files.
Damaged and foreign files, and files of another network, are listed, and the command exits with 1.  The features are decoded exactly or not
at all; if the pixels differ from the encoder's, as rounding on another machine may rarely cause, the command says so.
"""

import io
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from aeseg import files
from aeseg.compression.container import SUFFIX
from aeseg.data.files import shown as printable
from aeseg.inference import draw
from aeseg.runs.train import PICTURES
from aeseg.types import UserError

from .compression import codecs
from .console import cli
from .console.progress import Progress
from .machine import process
from .predictions.inputs import input_files, output_names
from .predictions.outputs import Outputs


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code, 1 if a file could not be decompressed."""
    flags = cli.parse(argv, __doc__, **codecs.FLAGS, output=("decompressed", "folder for the results"))
    process.start(portable=True)
    began = time.perf_counter()
    paths = input_files(flags.input, flags.output, (SUFFIX,))
    codec = codecs.codec_of(flags.init, flags.step, writes=False)
    out, names = Outputs(flags.output, paths, "decompress"), output_names(paths)
    out.claim([("", ".png")], names)
    failed: dict[str, str] = {}
    inexact: list[str] = []
    rows: list[tuple[str, np.ndarray]] = []
    made: dict[str, Any] = {}
    with Progress("decompressing", len(paths)) as progress:
        for index, (path, name) in enumerate(zip(paths, names, strict=True)):
            try:
                result = codec.decompress(content(path), printable(path))
            except (UserError, MemoryError, OSError) as error:
                failed[path] = str(error) or "out of memory"
                continue
            with out.writing():
                files.write(out.path("", name, ".png"), png(result.image))
            made[path] = {"name": name, "exact": result.exact}
            if not result.exact:
                inexact.append(path)
            if len(rows) < PICTURES:
                rows.append((name, result.image))
            progress.at(index + 1)
    out.record({"init": flags.init, "images": made, "failed": failed})
    if rows:
        panel = os.path.join(flags.output, "overview.png")
        draw.panel({"decompressed": [image for _, image in rows]}, panel, names=[name for name, _ in rows])
    for path, reason in failed.items():
        print(f"Skipped {printable(path)}: {reason.removeprefix(printable(path)).strip()}", file=sys.stderr)
    for path in inexact:
        print(f"Note: some pixels of {printable(path)} differ by rounding from those that the encoder saw.", file=sys.stderr)
    print(f"\n{len(made)} of {len(paths)} files in {time.perf_counter() - began:.0f} s.")
    if made:
        exact = len(made) - len(inexact)
        print(f"exact       {exact} of {len(made)}\nresults     {flags.output}, *.png\npictures    {panel}", flush=True)
    return 1 if failed else 0


def png(image: UInt8[np.ndarray, "h w c"]) -> bytes:
    """Return a PNG file of a grey or RGB image."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def content(path: str) -> bytes:
    """Return the bytes of a file; UserError if it is not a regular file."""
    if not os.path.isfile(path):
        raise UserError("is not a regular file. Give a file that `compress` wrote.")
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    cli.main(run)
