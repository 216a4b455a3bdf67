"""Muon: orthogonal updates for matrices; all other parameters use Adam."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from aeseg import tree


def scale_by_orthogonal(beta: float, nesterov: bool, rms: float) -> optax.GradientTransformation:
    """Replace the momentum by the nearest orthogonal matrix, with five Newton-Schulz steps.

    Jordan et al. 2024, kellerjordan.github.io/posts/muon. The update is scaled by `rms` sqrt(max(in, out)), so that its root
    mean square is about `rms` for any shape (Liu et al. 2025, arXiv 2502.16982, equation 4).
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
    """Return the axes of a parameter that form the rows (in) and columns (out) of a matrix; None if it is not a matrix.

    Kernels of fully connected layers are [in, out]; kernels of convolutions, [h, w, in, out], count as [h w in, out]. The leading
    axis of a stack is a batch of matrices. Depthwise kernels [h, w, 1, out] are single filters, not matrices.
    """
    stack = int(tree.is_stacked(name))
    axes = tuple(range(stack, len(shape)))
    is_matrix = name.endswith("kernel") and (len(axes) == 2 or (len(axes) == 4 and shape[axes[2]] > 1))
    return MuonDimensionNumbers(axes[:-1], axes[-1:]) if is_matrix else None


def matrix_labels(params: Any, exempt: Sequence[str]) -> Any:
    """Label each parameter with its transformation, "matrix" or "other"; parameters that match `exempt` are "other"."""

    def label(name: str, leaf: Any) -> str:
        return "other" if tree.matches(name, exempt) or matrix_axes(name, leaf.shape) is None else "matrix"

    return tree.map_with_name(label, params)
