"""Codec of a workdir and pixels of an image, for both commands."""

import numpy as np
from jaxtyping import UInt8

from aeseg.compression import codec as codecs
from aeseg.compression.codec import Codec
from aeseg.data import decode
from aeseg.data.files import shown
from aeseg.methods.hyperprior import Hyperprior
from aeseg.runs import workdir as workdirs
from aeseg.types import UserError

FLAGS = {
    "init": ("", "workdir of a run of `pretrain --config=compression`"),
    "step": (-1, "step of the checkpoint; -1: the newest"),
    "input": ("", "file, folder (subfolders are read), or glob in quotes"),
}
"""Flags that both commands share."""

STORED = ("uint8", "bool")
"""Dtypes of files whose values fit 8 bits."""


def codec_of(workdir: str, step: int, writes: bool) -> Codec:
    """Return the codec of a workdir; UserError if its method cannot compress."""
    if not workdir:
        raise UserError(
            "Expected the workdir of a hyperprior; got none. Train one with pretrain --config=compression, and set --init to it."
        )
    trained = workdirs.load_trained(workdir, step)
    if not isinstance(trained.method, Hyperprior):
        raise UserError(
            f"Expected a run of the method hyperprior; {shown(workdir)} holds a {type(trained.method).__name__}. Train one with "
            "pretrain --config=compression, and set --init to it."
        )
    if (channels := trained.method.decoder.channels) not in (1, 3):
        raise UserError(
            f"compress stores grey and RGB images; the network of {shown(workdir)} has {channels} channels. Train one with 1 or 3."
        )
    return codecs.saved(workdir, trained.step, trained.method, trained.variables, writes)


def image_of(path: str, channels: int) -> UInt8[np.ndarray, "h w c"]:
    """Return the pixels of an 8-bit image; UserError for other depths, whose values 8 bits cannot store."""
    dtype = decode.header(path).dtype
    if dtype not in STORED:
        raise UserError(f"has {dtype} values; compress stores 8 bits per channel. Convert it to uint8.")
    return decode.image(path, channels)
