"""Muon's part of a step: matrices move by orthogonal matrices, all else as in Adam."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from aeseg import tree


def scale_by_orthogonal(beta: float, nesterov: bool, rms: float) -> optax.GradientTransformation:
    """The orthogonal matrix nearest to the momentum, by five Newton-Schulz steps (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

    Times `rms` sqrt(max(in, out)): so the root mean square of a change is about `rms` whatever the matrix's shape (Liu et al.
    2025, arXiv 2502.16982, equation 4).
    """

    def axes(updates: Any) -> Any:
        return tree.map_with_name(lambda name, leaf: matrix_axes(name, leaf.shape), updates)

    def size(name: str, update: Any) -> Any:
        rows, columns = matrix_axes(name, update.shape)  # type: ignore[misc]  # only matrices come here
        sides = (math.prod(update.shape[axis] for axis in side) for side in (rows, columns))
        return update * jnp.asarray(rms * math.sqrt(max(sides)), update.dtype)

    return optax.chain(
        scale_by_muon(beta=beta, nesterov=nesterov, weight_dimension_numbers=axes),
        optax.stateless(lambda updates, params: tree.map_with_name(size, updates)),
    )


def matrix_axes(name: str, shape: tuple[int, ...]) -> MuonDimensionNumbers | None:
    """Which axes of a parameter are a matrix's rows (in) and columns (out); None for what is no matrix.

    Kernels of fully connected layers are [in, out], those of convolutions [h, w, in, out] count as [h w in, out]; the leading
    axis of a stack is a batch of matrices.  Depthwise kernels [h, w, 1, out] are single filters, and no matrix.
    """
    stack = int(tree.is_stacked(name))
    axes = tuple(range(stack, len(shape)))
    is_matrix = name.endswith("kernel") and (len(axes) == 2 or (len(axes) == 4 and shape[axes[2]] > 1))
    return MuonDimensionNumbers(axes[:-1], axes[-1:]) if is_matrix else None


def matrix_labels(params: Any, exempt: Sequence[str]) -> Any:
    """Which transformation each parameter takes, "matrix" or "other"; the `exempt` are never matrices."""

    def label(name: str, leaf: Any) -> str:
        return "other" if tree.matches(name, exempt) or matrix_axes(name, leaf.shape) is None else "matrix"

    return tree.map_with_name(label, params)
