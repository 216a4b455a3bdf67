"""Likeness of two sets of images: the Fréchet distance of their features, and the nearest image of one set to each of the other."""

import numpy as np
from jaxtyping import Float, Int

from aeseg.types import UserError


def frechet_distance(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "m d"]) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of two sets of features (Heusel et al. 2017, equation 6).

    C are unbiased covariances, as in the authors' code.  The trace of the root is the sum of the singular values of R1' R2, with
    C = R R': this needs no matrix root, and is exact for singular covariances.  The distance falls with the number of images, so compare
    only distances of equal numbers.
    """
    if min(len(first), len(second)) < 2:
        raise UserError(f"A Fréchet distance needs 2 or more images of each set; got {len(first)} and {len(second)}. Use more images.")
    (mean, root), (other, further) = (_moments(np.asarray(each, np.float64)) for each in (first, second))
    overlap = np.linalg.svd(root @ further.T, compute_uv=False).sum()
    return float(np.sum(np.square(mean - other)) + np.sum(np.square(root)) + np.sum(np.square(further)) - 2 * overlap)


def _moments(features: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "_ d"]]:
    """Return the mean, and R' of at most d rows with covariance R R'."""
    mean = features.mean(axis=0)
    return mean, np.asarray(np.linalg.qr((features - mean) / np.sqrt(len(features) - 1), mode="r"))


class Nearest:
    """The nearest vector of a set to each query, found part by part, so that only one part of the set is in memory.

    distance, index   Euclidean distance and number of the nearest vector so far, the first of equals

    Distances are exact for 8-bit images, whose squares and products are whole numbers.
    """

    def __init__(self, queries: Float[np.ndarray, "q d"]):
        self._queries = np.asarray(queries, np.float64)
        self._squares, self._least = np.sum(np.square(self._queries), axis=1), np.full(len(queries), np.inf)
        self.index = np.full(len(queries), -1)

    @property
    def distance(self) -> Float[np.ndarray, "q"]:
        """Return the distances; infinite before the first part."""
        return np.sqrt(np.maximum(self._least, 0))

    def add(self, vectors: Float[np.ndarray, "n d"], numbers: Int[np.ndarray, "n"]) -> None:
        """Compare the queries with a part of the set, whose vectors have these numbers."""
        vectors = np.asarray(vectors, np.float64)
        squares = self._squares[:, None] - 2 * self._queries @ vectors.T + np.sum(np.square(vectors), axis=1)[None]
        best = np.argmin(squares, axis=1)
        least = squares[np.arange(len(best)), best]
        closer = least < self._least
        self._least[closer], self.index[closer] = least[closer], numbers[best][closer]
