"""Probes of frozen features, per patch: nearest neighbours and logistic regression.

A patch is one cell of one stride of an encoder's pyramid. A probe returns a score per class for each cell. The scores are resized
to the image (bilinear) and evaluated over pixels like any segmentation.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Int32

from aeseg.types import IGNORE, UserError

Probe = Callable[[Float[Array, "*n d"]], Float[Array, "*n k"]]
"""Maps features of patches to a score per class."""

BLOCK = 256
"""Number of patches whose similarities to all training patches are computed at once."""


class Patches(NamedTuple):
    """Labelled patches; `offered` is their number before sampling."""

    features: Float[np.ndarray, "n d"]
    labels: Int32[np.ndarray, "n"]
    offered: int


def patch_labels(label: Int[np.ndarray, "b h w"], stride: int, classes: int) -> Int32[np.ndarray, "b _ _"]:
    """Return the most frequent class per stride x stride pixels, the first of ties; IGNORE if no pixel is labelled."""
    b, h, w = label.shape
    cells = label.reshape(b, h // stride, stride, w // stride, stride)
    counts = np.stack([np.sum(cells == index, axis=(2, 4)) for index in range(classes)], axis=-1)
    return np.where(counts.any(axis=-1), counts.argmax(axis=-1), IGNORE).astype(np.int32)


def collect(
    batches: Iterable[Mapping[str, np.ndarray]],
    features_of: Callable[[np.ndarray], Float[np.ndarray, "b _ _ d"]],
    stride: int,
    classes: int,
    images: int,
    most: int,
    seed: int = 0,
) -> Patches:
    """Extract labelled patches of `images` images: at most `most`, sampled by `seed` with an equal quota per image."""
    if most < 1:
        raise UserError(f"A probe needs at least 1 patch; got {most}. Set --patches.")
    random, features, labels, seen, offered = np.random.default_rng(seed), [], [], 0, 0
    for batch in batches:
        extracted = features_of(batch["image"])
        truth = patch_labels(batch["label"], stride, classes)
        for row in np.flatnonzero(batch["valid"]):
            known = np.flatnonzero(truth[row] != IGNORE)
            quota = (seen + 1) * most // images - seen * most // images
            seen, offered = seen + 1, offered + len(known)
            chosen = np.sort(random.permutation(known)[:quota])
            features.append(extracted[row].reshape(-1, extracted.shape[-1])[chosen].astype(np.float32))
            labels.append(truth[row].reshape(-1)[chosen])
    if offered == 0:
        raise UserError(f"Expected labelled patches; all pixels of the {images} training images are ignored. Check the class table.")
    return Patches(np.concatenate(features), np.concatenate(labels), offered)


def nearest(patches: Patches, classes: int, neighbours: int = 20, temperature: float = 0.07) -> Probe:
    """Weighted k-nearest-neighbour probe: votes weigh exp(cosine / temperature) (Wu et al. 2018, arXiv 1805.01978, section 3.4).

    The defaults, 20 neighbours and temperature 0.07, are DINO's for whole images (Caron et al. 2021, arXiv 2104.14294, section 4.1
    and code). Scores are fractions of the votes. If there are fewer patches than neighbours, all of them vote.
    """
    if neighbours < 1 or temperature <= 0:
        raise UserError(f"knn needs neighbours >= 1 and temperature > 0; got {neighbours} and {temperature}. Change them.")
    known = _unit(jnp.asarray(patches.features))
    ballots = jax.nn.one_hot(jnp.asarray(patches.labels), classes)
    count = min(neighbours, len(patches.labels))

    def votes(feature: Float[Array, "d"]) -> Float[Array, "k"]:
        similarity, indices = jax.lax.top_k(known @ feature, count)
        return jax.nn.softmax(similarity / temperature) @ ballots[indices]

    def probe(features: Float[Array, "*n d"]) -> Float[Array, "*n k"]:
        flat = _unit(features.astype(jnp.float32)).reshape(-1, features.shape[-1])
        return jax.lax.map(votes, flat, batch_size=BLOCK).reshape(*features.shape[:-1], classes)

    return probe


def logistic(patches: Patches, classes: int, strength: float = 1.0, iterations: int = 200, tolerance: float = 1e-4) -> Probe:
    """Multinomial logistic regression on standardised features, with scikit-learn's objective and L-BFGS (Liu & Nocedal 1989).

    Minimises mean cross-entropy + |kernel|^2 / (2 strength n), with unpenalised offsets, until the largest gradient is at most
    `tolerance` or for `iterations` steps. Scores are logits; a class without patches gets low logits.
    """
    if strength <= 0 or iterations < 1:
        raise UserError(f"Logistic regression needs strength > 0 and iterations >= 1; got {strength} and {iterations}. Change them.")
    mean, std = patches.features.mean(axis=0), patches.features.std(axis=0)
    shift, scale = jnp.asarray(mean), jnp.asarray(np.where(std > 1e-6, std, 1.0))
    kernel, offset = _solved(
        _standard(jnp.asarray(patches.features), shift, scale), jnp.asarray(patches.labels), classes, strength, iterations, tolerance
    )

    def probe(features: Float[Array, "*n d"]) -> Float[Array, "*n k"]:
        return _standard(features.astype(jnp.float32), shift, scale) @ kernel + _broad(offset, features.ndim)

    return probe


def _solved(
    features: Float[Array, "n d"], labels: Int32[Array, "n"], classes: int, strength: float, iterations: int, tolerance: float
) -> tuple[Float[Array, "d k"], Float[Array, "k"]]:
    n, d = features.shape

    def error(parameters: tuple[Array, Array]) -> Array:
        kernel, offset = parameters
        loss = optax.softmax_cross_entropy_with_integer_labels(features @ kernel + offset.reshape(1, -1), labels)
        return jnp.mean(loss) + jnp.sum(jnp.square(kernel)) / (2 * strength * n)

    solver = optax.lbfgs()
    slope_of = optax.value_and_grad_from_state(error)

    def advance(carry: tuple[Any, Any, Array, Array]) -> tuple[Any, Any, Array, Array]:
        parameters, state, _, step = carry
        value, slope = slope_of(parameters, state=state)
        updates, state = solver.update(slope, state, parameters, value=value, grad=slope, value_fn=error)
        return optax.apply_updates(parameters, updates), state, optax.tree.norm(slope, ord="inf"), step + 1

    def unsolved(carry: tuple[Any, Any, Array, Array]) -> Array:
        return (carry[2] > tolerance) & (carry[3] < iterations)

    @jax.jit
    def solve() -> tuple[Array, Array]:
        start = (jnp.zeros((d, classes)), jnp.zeros(classes))
        return jax.lax.while_loop(unsolved, advance, (start, solver.init(start), jnp.float32(jnp.inf), jnp.int32(0)))[0]

    return solve()


def _standard(features: Float[Array, "*n d"], shift: Float[Array, "d"], scale: Float[Array, "d"]) -> Float[Array, "*n d"]:
    return (features - _broad(shift, features.ndim)) / _broad(scale, features.ndim)


def _broad(vector: Float[Array, "d"], axes: int) -> Float[Array, "..."]:
    """Reshape the vector to the last of `axes` axes."""
    return vector.reshape((1,) * (axes - 1) + (-1,))


def _unit(features: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """Scale to length 1; zero vectors stay zero."""
    length = jnp.linalg.norm(features, axis=-1, keepdims=True)
    return features / jnp.where(length > 0, length, 1)
