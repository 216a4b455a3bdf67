"""Masks of the images that a command reads: files of the same names in a second folder."""

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from aeseg.data import decode
from aeseg.data.files import shown
from aeseg.types import UserError

from .inputs import common_folder


def mask_paths(masks: str, paths: Sequence[str]) -> dict[str, str]:
    """Return the path of each image's mask, "" if it has none: `masks` itself, of one image, or the file of its name below `masks`.

    Names are relative to the images' common folder and leave out the ending.
    """
    if os.path.isfile(masks):
        if len(paths) != 1:
            raise UserError(f"--masks={masks} is one file for {len(paths)} images. Set --masks to a folder with a mask for each.")
        return {paths[0]: masks}
    if not os.path.isdir(masks):
        raise UserError(f"Expected a folder of masks, or the mask of one image; --masks={masks!r} does not exist.")
    root = common_folder(paths)
    stems = {path: os.path.splitext(os.path.relpath(path, root))[0] for path in paths}
    return {
        path: next(filter(os.path.isfile, (os.path.join(masks, stem + end) for end in decode.KINDS)), "") for path, stem in stems.items()
    }


def read_mask(mask: str, path: str, size: tuple[int, ...]) -> Bool[np.ndarray, "h w"]:
    """Return the mask of an image of `size` (h, w): true from grey 128."""
    if not mask:
        raise UserError(f"{shown(path)} has no mask. Add a file of its name to --masks; an empty (black) mask marks nothing.")
    marked = decode.mask(mask)
    if marked.shape != size[:2]:
        h, w = marked.shape
        raise UserError(f"{shown(path)} has {size[0]}x{size[1]} pixels, its mask {shown(mask)} {h}x{w}. Draw the mask on the image.")
    return marked
