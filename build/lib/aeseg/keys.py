"""Random streams: a root key, a name and a step determine a key. Keys are never stored and never split in a loop."""

import zlib

import jax
from jaxtyping import Array, Int, Key

STREAMS = ("noise", "hidden", "sample", "dropout", "drop_path")
"""Streams that a train step passes to a method (`make_rng(name)`). Methods draw per row, except from PER_MICROBATCH."""

PER_MICROBATCH = ("dropout", "drop_path")
"""Streams from which layers draw for a whole array; each microbatch gets its own key."""

MONTE_CARLO = "monte_carlo"
"""Stream of dropout in evaluation, for Monte Carlo samples (aeseg/inference/samples.py). Train steps do not pass it."""


def stream(root: Key[Array, ""], name: str, step: Int[Array, ""] | int) -> Key[Array, ""]:
    """Return the key of a named stream at a step; equal names and steps give equal keys."""
    return jax.random.fold_in(jax.random.fold_in(root, zlib.crc32(name.encode())), step)


def per_row(key: Key[Array, ""], index: Int[Array, "b"]) -> Key[Array, "b"]:
    """Return one key per row, derived from the `index` of the row (see `types.Batch`).

    The numbers drawn for a row do not depend on the number of microbatches, devices or hosts.
    """
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)
