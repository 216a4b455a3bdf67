"""What the tests of modalities of a folder share: three images, and their stems."""

import numpy as np
from PIL import Image

from aeseg.data.matching import Files

RNG = np.random.default_rng(0)
NAMES = ("a", "b", "sub/c")
STEMS = {name: (name,) for name in NAMES}


def picture(h=6, w=8, channels=3, dtype=np.uint8):
    shape = (h, w, channels) if channels > 1 else (h, w)
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def files(name="a"):
    return Files(name, f"images/{name}.png", "", "")


def read(reader, name="a", h=6, w=8):
    return reader.read(files(name), np.zeros((h, w, 3), np.uint8))
