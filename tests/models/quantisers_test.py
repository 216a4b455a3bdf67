"""aeseg/models/quantisers.py, against vector-quantize-pytorch and the tables of the papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from vector_quantize_pytorch import FSQ, VectorQuantize

from aeseg.models.quantisers import FiniteScalar, NearestVector, nearest
from aeseg.types import UserError
from tests import jitted

VALID, INDEX = jnp.ones(4, bool), jnp.arange(4)


def values(seed=0, width=4, scale=2.0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(4, 3, 5, width)) * scale, jnp.float32)


def book(quantiser, vectors, uses):
    """Return a collection with these vectors and numbers of uses."""
    fresh = jitted.init(quantiser, {"params": jax.random.key(0), "sample": jax.random.key(0)}, values(), VALID, INDEX, train=False)
    state = {**fresh["codebook"]["state"], "vectors": vectors, "uses": uses, "totals": vectors * uses[:, None]}
    return {"codebook": {"state": state}}


def step(quantiser, variables, given, microbatches=1, seed=0, valid=VALID):
    """Return a training step's outputs and the collection after it; the microbatches are strided slices of the rows."""
    outputs = []
    for first in range(microbatches):
        rows = slice(first, None, microbatches)
        rngs = {"sample": jax.random.key(seed)}
        output, variables = jitted.apply(
            quantiser, variables, given[rows], valid[rows], INDEX[rows], train=True, rngs=rngs, mutable=["codebook"]
        )
        outputs.append(output)
    return outputs, variables


def vectors_after(quantiser, variables):
    return jitted.apply(quantiser, variables, jnp.arange(quantiser.size), method="vectors")


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (8, 6, 5, 3), (4, 4, 3, 7)])
def test_finite_scalars_and_their_gradient_equal_vector_quantize_pytorch(levels):
    """The library's epsilon has the opposite sign of the paper's, so it is negated."""
    given, ours, reference = values(), FiniteScalar(levels), FSQ(list(levels))
    output = jitted.apply(ours, {}, given, VALID, INDEX, train=True)
    theirs = torch.tensor(np.array(given), requires_grad=True)
    expected = reference.bound(theirs, eps=-1e-3)
    np.testing.assert_allclose(output.values, expected.detach(), atol=1e-6)
    np.testing.assert_array_equal(output.codes, reference.codes_to_indices(expected))
    weights = np.random.default_rng(1).normal(size=given.shape).astype(np.float32)
    (expected * torch.tensor(weights)).sum().backward()
    slope = jax.grad(lambda given: jnp.sum(ours.apply({}, given, VALID, INDEX, train=True).values * weights))(given)
    np.testing.assert_allclose(slope, theirs.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("levels", "codes"),
    [((8, 6, 5), 240), ((8, 5, 5, 5), 1000), ((7, 5, 5, 5, 5), 4375), ((8, 8, 8, 6, 5), 15360), ((8, 8, 8, 5, 5, 5), 64000)],
)
def test_codebooks_have_the_sizes_of_the_papers_table_1(levels, codes):
    assert FiniteScalar(levels).size == codes


def test_every_finite_scalar_code_has_its_own_vector_and_survives_the_round_trip():
    ours = FiniteScalar((3, 4, 5))
    vectors = jitted.apply(ours, {}, jnp.arange(60), method="vectors")
    assert len(np.unique(vectors, axis=0)) == 60
    extreme = jnp.where(vectors > 0, 9.0, jnp.where(vectors < 0, -9.0, 0.0)).reshape(4, 3, 5, 3)
    output = jitted.apply(ours, {}, extreme, VALID, INDEX, train=False)
    np.testing.assert_array_equal(jitted.apply(ours, {}, output.codes, method="vectors"), output.values)
    assert {output.codes.min().item(), output.codes.max().item()} == {0, 59}
    np.testing.assert_array_equal(jitted.apply(ours, {}, jnp.zeros((1, 1, 1, 3)), VALID[:1], INDEX[:1], train=False).values, 0)


def test_the_nearest_vector_is_found():
    rng = np.random.default_rng(3)
    given, vectors = rng.normal(size=(50, 4)).astype(np.float32), rng.normal(size=(9, 4)).astype(np.float32)
    expected = np.square(given[:, None] - vectors[None]).sum(-1).argmin(1)
    np.testing.assert_array_equal(nearest(jnp.asarray(given), jnp.asarray(vectors)), expected)


def test_a_codebook_moves_as_in_vector_quantize_pytorch():
    ours = NearestVector(size=6, width=4, decay=0.8, dead=0.0)
    theirs = VectorQuantize(dim=4, codebook_size=6, decay=0.8, eps=0.0, threshold_ema_dead_code=0, commitment_weight=1.0)
    theirs.train()
    variables = book(ours, jnp.asarray(theirs.codebook.detach().numpy()), jnp.ones(6))  # the library starts with one use of each vector
    for seed in range(4):
        given = values(seed)
        (output,), variables = step(ours, variables, given, seed=seed)
        expected, codes, loss = theirs(torch.tensor(np.array(given)).reshape(4, 15, 4))
        np.testing.assert_array_equal(output.codes.reshape(4, 15), codes)
        np.testing.assert_allclose(output.values.reshape(4, 15, 4), expected.detach(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(output.commitment.mean(), loss.item(), rtol=1e-4)
        np.testing.assert_allclose(vectors_after(ours, variables), theirs.codebook.detach(), rtol=1e-4, atol=1e-5)


def test_the_gradient_passes_the_codebook_straight_through_and_pulls_values_to_their_vectors():
    ours, given = NearestVector(size=6, width=4), values()
    variables = book(ours, values(5).reshape(-1, 4)[:6], jnp.ones(6))

    def loss(given, weight):
        output = ours.apply(variables, given, VALID, INDEX, train=False)
        return jnp.sum(output.values) + weight * jnp.sum(output.commitment)

    np.testing.assert_allclose(jax.grad(loss)(given, 0.0), 1)
    output = jitted.apply(ours, variables, given, VALID, INDEX, train=False)
    np.testing.assert_allclose(jax.grad(loss)(given, 1.0), 1 + 2 * (given - output.values) / 60, rtol=1e-4)


def test_microbatches_move_the_codebook_as_the_full_batch_does():
    """Up to the rounding of sums; candidates, and the vectors that they replace, are equal bit by bit."""
    ours, given = NearestVector(size=6, width=4, dead=0.5), values()
    start = book(ours, values(5).reshape(-1, 4)[:6].at[3].set(50.0), jnp.ones(6))
    _, whole = step(ours, start, given)
    for microbatches in (2, 4):
        outputs, parts = step(ours, start, given, microbatches)
        np.testing.assert_array_equal(
            np.concatenate([output.codes for output in outputs])[
                np.argsort(np.concatenate([INDEX[m::microbatches] for m in range(microbatches)]))
            ],
            step(ours, start, given)[0][0].codes,
        )
        for name, leaf in whole["codebook"]["state"].items():
            np.testing.assert_allclose(parts["codebook"]["state"][name], leaf, rtol=1e-6, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(vectors_after(ours, parts), vectors_after(ours, whole), rtol=1e-5, atol=1e-6)


def test_a_dead_vector_becomes_a_value_of_the_last_step_and_the_others_are_unchanged():
    ours, given = NearestVector(size=6, width=4, dead=0.1, decay=0.5), values()
    start = book(ours, values(5).reshape(-1, 4)[:6].at[3].set(50.0), jnp.ones(6).at[3].set(0.0))
    _, after = step(ours, start, given)
    vectors, kept = vectors_after(ours, after), vectors_after(NearestVector(size=6, width=4, dead=0.0, decay=0.5), after)
    changed = np.any(np.asarray(vectors != kept), axis=1)
    np.testing.assert_array_equal(changed, [False, False, False, True, False, False])
    assert np.any(np.all(np.asarray(given).reshape(-1, 4) == np.asarray(vectors[3]), axis=1))


def test_a_new_codebook_takes_its_vectors_from_the_first_step():
    ours, given = NearestVector(size=40, width=4), values()
    fresh = jitted.init(ours, {"params": jax.random.key(0)}, given, VALID, INDEX, train=False)
    (output,), after = step(ours, fresh, given)
    unused = np.setdiff1d(np.arange(40), output.codes)
    taken = vectors_after(ours, after)[unused]
    matches = np.all(np.asarray(taken[:, None] == given.reshape(1, -1, 4)), axis=-1)
    assert matches.any(axis=1).all()
    assert len(np.unique(taken, axis=0)) == len(unused)


def test_padding_rows_move_nothing():
    ours, given = NearestVector(size=6, width=4), values()
    start = book(ours, values(5).reshape(-1, 4)[:6], jnp.ones(6))
    valid = VALID.at[3].set(False)
    _, first = step(ours, start, given, valid=valid)
    _, second = step(ours, start, given.at[3].set(7.0), valid=valid)
    state = {name: leaf for name, leaf in first["codebook"]["state"].items() if name not in ("candidates", "priority")}
    for name, leaf in state.items():
        np.testing.assert_array_equal(leaf, second["codebook"]["state"][name], err_msg=name)
    np.testing.assert_array_equal(vectors_after(ours, first), vectors_after(ours, second))
    none = jnp.zeros(4, bool)
    _, untouched = step(ours, start, given, valid=none)
    np.testing.assert_array_equal(vectors_after(ours, untouched), vectors_after(ours, start))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FiniteScalar((8, 2)), r"3 or more levels in every channel; got \(8, 2\)"),
        (lambda: FiniteScalar(()), r"3 or more levels in every channel; got \(\)"),
        (lambda: NearestVector(size=1), "2 or more vectors of 1 or more numbers; got 1 of 16"),
        (lambda: NearestVector(decay=1.0), "less than 1; got 1.0 and 0.1"),
    ],
)
def test_bad_fields_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
