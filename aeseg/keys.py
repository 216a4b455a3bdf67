"""Random streams: a root key, a name and a step give a key; keys are never stored and never split in a loop."""

import zlib

import jax
from jaxtyping import Array, Int, Key

STREAMS = ("noise", "hidden", "sample", "dropout", "drop_path")
"""The streams a train step hands to a Method (`make_rng(name)`); all but PER_MICROBATCH are drawn per row."""

PER_MICROBATCH = ("dropout", "drop_path")
"""Streams that layers draw for a whole array: each microbatch gets its own."""

MONTE_CARLO = "monte_carlo"
"""The stream that dropout reads in evaluation, where samples are asked for (aeseg/inference/samples.py); no train step hands it out."""


def stream(root: Key[Array, ""], name: str, step: Int[Array, ""] | int) -> Key[Array, ""]:
    """The key of one named random stream at one step; equal names and steps give equal keys."""
    return jax.random.fold_in(jax.random.fold_in(root, zlib.crc32(name.encode())), step)


def per_row(key: Key[Array, ""], index: Int[Array, "b"]) -> Key[Array, "b"]:
    """One key for each row, from its place in the global batch.

    The numbers drawn for a row so depend neither on how many microbatches the batch is cut into nor on how many
    devices and hosts share it.
    """
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)
