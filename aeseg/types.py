"""The nouns of aeseg: Batch, Pyramid, Class, and the error a user can mend."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

IGNORE = 255
"""The label of a pixel that weighs nothing: void, unlabelled, or outside the region of interest."""

Batch = Mapping[str, Array]
"""One step's arrays, by name.

`image` [b h w c], uint8 on the wire and float32 in [0, 1] inside the step; `label` int32 [b h w] with IGNORE;
`valid` bool [b], False for padding rows, which weigh nothing; `index` int32 [b], the row's place in the global batch,
from which a method draws its random numbers; further modalities (`depth` [b h w]) are further keys.
"""

Loaded = Mapping[str, Array | np.ndarray]
"""A Batch as it comes over the wire, on the host or placed on the devices."""

Pyramid = dict[int, Float[Array, "b _ _ _"]]
"""{stride: features [b h/stride w/stride d]}: what every encoder returns, and the logits of every head."""


class Class(NamedTuple):
    """One class of a label image."""

    name: str
    colour: tuple[int, int, int]


class UserError(ValueError):
    """Something the user can mend.  The text says what was expected, what came, and what to do."""


def at_stride(pyramid: Pyramid, stride: int, reader: str) -> Float[Array, "b _ _ _"]:
    """The features of one stride; `reader` names who asks, for the error."""
    if stride not in pyramid:
        raise UserError(
            f"{reader} reads stride {stride}; the encoder gives {sorted(pyramid)}. "
            f"Set the stride of {reader} to one of these, or give the encoder another depth."
        )
    return pyramid[stride]


def chosen_strides(pyramid: Pyramid, strides: tuple[int, ...], reader: str) -> tuple[int, ...]:
    """The strides that a head of several reads, fine to coarse: those it names, or with () the coarsest four (or all) that there are."""
    for stride in strides:
        at_stride(pyramid, stride, reader)
    return tuple(sorted(strides)) if strides else tuple(sorted(pyramid)[-4:])


def doubling_strides(pyramid: Pyramid, reader: str) -> tuple[int, ...]:
    """The strides of a pyramid, coarse to fine, for a head that climbs from each to the next, twice as fine."""
    found = sorted(pyramid)
    if len(found) < 2 or any(coarse != 2 * fine for fine, coarse in itertools.pairwise(found)):
        raise UserError(
            f"{reader} joins features whose strides double (such as [1, 2, 4, 8]); the encoder gives {found}. "
            "Take such an encoder (convnet), or a head that reads one stride (linear, fcn)."
        )
    return tuple(reversed(found))


def check_each(numbers: Sequence[int], strides: Sequence[int], has: str, remedy: str) -> None:
    """Raises UserError unless there is one number for each of the strides that a head climbs to; `has` says what it has."""
    if len(numbers) != len(strides):
        raise UserError(
            f"{has} {tuple(numbers)}; the encoder gives {len(strides)} strides to climb to, {list(strides)}. Give one {remedy}."
        )
