"""The shared types of aeseg: Batch, Pyramid, Class and UserError."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

IGNORE = 255
"""Label of a pixel with weight 0: void, unlabelled, or outside the region of interest."""

Batch = Mapping[str, Array]
"""Arrays of one step, by name.

image  [b h w c], uint8 from the loader and float32 in [0, 1] inside the step
label  int32 [b h w], with IGNORE
valid  bool [b], False for padding rows, which have weight 0
index  int32 [b], the index of the row in the global batch; in evaluation, of the record in the source; it seeds the row's random numbers

Further modalities (`depth` [b h w]) are further keys; `has_<key>` [b] marks the records that have one.
"""

Loaded = Mapping[str, Array | np.ndarray]
"""A Batch as the loader makes it, on the host or on the devices."""

Pyramid = dict[int, Float[Array, "b _ _ _"]]
"""Features {stride: [b h/stride w/stride d]}: the output of every encoder, and the logits of every head."""


class Class(NamedTuple):
    """One class of a label image."""

    name: str
    colour: tuple[int, int, int]


class UserError(ValueError):
    """An error the user can fix. The message states what was expected, what was given, and how to fix it."""


def at_stride(pyramid: Pyramid, stride: int, reader: str) -> Float[Array, "b _ _ _"]:
    """Return the features of one stride. `reader` is named in the error if the stride is absent."""
    if stride not in pyramid:
        raise UserError(
            f"{reader} reads stride {stride}; the encoder gives {sorted(pyramid)}. "
            f"Set the stride of {reader} to one of these, or change the depth of the encoder."
        )
    return pyramid[stride]


def chosen_strides(pyramid: Pyramid, strides: tuple[int, ...], reader: str) -> tuple[int, ...]:
    """Return the strides that a head reads, fine to coarse: `strides`, or for () the coarsest four (or all) of the pyramid."""
    for stride in strides:
        at_stride(pyramid, stride, reader)
    return tuple(sorted(strides)) if strides else tuple(sorted(pyramid)[-4:])


def doubling_strides(pyramid: Pyramid, reader: str) -> tuple[int, ...]:
    """Return the strides of a pyramid, coarse to fine; UserError unless each is twice the next."""
    strides = sorted(pyramid)
    if len(strides) < 2 or any(coarse != 2 * fine for fine, coarse in itertools.pairwise(strides)):
        raise UserError(
            f"{reader} joins features whose strides double (such as [1, 2, 4, 8]); the encoder gives {strides}. "
            "Take such an encoder (convnet), or a head that reads one stride (linear, fcn)."
        )
    return tuple(reversed(strides))


def check_each(numbers: Sequence[int], strides: Sequence[int], has: str, remedy: str) -> None:
    """Raise UserError unless there is one number per stride that a head upsamples to. `has` and `remedy` are parts of the message."""
    if len(numbers) != len(strides):
        raise UserError(
            f"{has} {tuple(numbers)}; the encoder gives {len(strides)} strides to upsample to, {list(strides)}. Give one {remedy}."
        )
