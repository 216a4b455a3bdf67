"""aeseg/selective.py: the units of the highest error are hidden, beside random ones, in every method that draws masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import keys, masking
from aeseg.methods import fcmae, masked, simmim
from aeseg.models.decoders.light import LightDecoder
from aeseg.models.decoders.linear import LinearDecoder
from aeseg.models.encoders.convnet import ConvNet
from aeseg.models.encoders.vit import ViT
from aeseg.models.token_decoder import TokenDecoder
from aeseg.selective import Selective
from aeseg.spec import build, from_json, spec, to_json
from aeseg.types import UserError
from tests.methods import cases

ROWS, H, W = 40, 6, 10
ERROR = jnp.asarray(np.random.default_rng(0).random((ROWS, H, W)), jnp.float32)
KEYS = keys.per_row(jax.random.key(0), jnp.arange(ROWS))
BATCH = cases.batch()  # 12 x 16 pixels: 3 x 4 units of 4


def hidden(sampler, error=lambda hidden: ERROR):
    return np.asarray(jax.jit(lambda rows: sampler.by_error(rows, H, W, error))(KEYS))


@pytest.mark.parametrize("ratio", [0.3, 0.6, 0.75])
def test_the_units_of_the_highest_error_are_hidden_and_others_are_random(ratio):
    sampler = Selective(ratio, hard=0.5)
    found = hidden(sampler)
    assert set(found.sum(axis=(1, 2)).tolist()) == {sampler.count(H, W)} == {masking.Random(ratio).count(H, W)}
    hardest = round(0.5 * sampler.count(H, W))
    order = np.argsort(np.asarray(ERROR).reshape(ROWS, -1), axis=1)
    flat = found.reshape(ROWS, -1)
    assert np.take_along_axis(flat, order[:, -hardest:], axis=1).all()
    others = np.take_along_axis(flat, order[:, :-hardest], axis=1).mean(axis=0)  # each equally often
    np.testing.assert_allclose(others, (sampler.count(H, W) - hardest) / (H * W - hardest), atol=0.3)
    assert build(from_json(to_json(spec(Selective, ratio=ratio, hard=0.5)))) == sampler


def test_all_hidden_units_or_none_may_be_chosen_by_their_error():
    count = Selective(0.6).count(H, W)
    order = np.argsort(np.argsort(np.asarray(ERROR).reshape(ROWS, -1), axis=1), axis=1)
    np.testing.assert_array_equal(hidden(Selective(0.6, hard=1.0)).reshape(ROWS, -1), order >= H * W - count)
    chosen = hidden(Selective(0.6, hard=0.0))
    assert abs(np.corrcoef(chosen.reshape(-1), np.asarray(ERROR).reshape(-1))[0, 1]) < 0.1
    assert set(chosen.sum(axis=(1, 2)).tolist()) == {count}
    with pytest.raises(UserError, match="hard"):
        Selective(0.6, hard=1.5)


@pytest.mark.parametrize("ratio", [0.3, 0.6, 0.9])
def test_the_masks_that_measure_the_error_hide_each_unit_and_all_hide_the_same_number(ratio):
    seen = []

    def error(hidden):
        jax.debug.callback(lambda array: seen.append(np.asarray(array)), hidden)
        return ERROR

    hidden(Selective(ratio), error)
    jax.effects_barrier()
    assert len(seen) == int(np.ceil(60 / round(60 * ratio)))
    assert np.any(seen, axis=0).all()
    assert {int(each) for mask in seen for each in mask.sum(axis=(1, 2))} == {round(60 * ratio)}


def test_a_unit_that_two_masks_hide_has_the_mean_of_its_errors():
    """At ratio 0.75 the second mask hides half of the units again: with errors 1 and then 0, they have 0.5."""
    calls = iter((1.0, 0.0))
    sampler = Selective(0.75, hard=1 / 3)
    masks = []

    def error(hidden):
        masks.append(hidden)
        return jnp.full(hidden.shape, next(calls))

    found = np.asarray(sampler.by_error(KEYS, 4, 4, error))
    first, second = (np.asarray(each) for each in masks)
    assert (first.sum(axis=(1, 2)) == 12).all()
    assert found[first & ~second].all(), "4 of 16 units, with error 1, are the third of the 12 hidden ones"
    assert (first & ~second).sum() == 4 * ROWS


STATISTICS = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}


def methods():
    vit = ViT(width=8, depth=1, heads=2, patch=4, **STATISTICS)
    sampler = Selective(0.75, hard=1.0)
    token = ViT(width=8, depth=1, heads=2, patch=4, has_mask_token=True, **STATISTICS)
    return {
        "masked": masked.Masked(vit, TokenDecoder(8, 1, 2), sampler),
        "simmim": simmim.SimMIM(token, LinearDecoder(4), sampler, unit=4),
        "spark": fcmae.SparseMasked(
            ConvNet(widths=(4, 4), bottleneck=8, norm="batch", mean=(0.45,), std=(0.25,)), LightDecoder(8, strides=(2, 4)), sampler, unit=4
        ),
    }


@pytest.mark.parametrize("name", ["masked", "simmim", "spark"])
def test_a_method_hides_the_units_that_it_reconstructs_worst(name):
    ours = methods()[name]
    rngs = {"hidden": jax.random.key(3)}
    variables = jax.jit(lambda: ours.init({"params": jax.random.key(0), **rngs}, BATCH, train=True))()
    errors = "_patch_error" if name == "masked" else "_unit_error"

    def both(module):
        """The method's mask, and each unit's mean error over 16 other masks, all in one batch."""
        others = masking.hidden_units(masking.Random(0.75), jax.random.split(jax.random.key(1), 16 * len(BATCH["valid"])), 3, 4)
        error = getattr(module, errors)(jnp.tile(BATCH["image"], (16, 1, 1, 1)), others).reshape(16, -1, 3, 4)
        return module._hidden(BATCH, True), jnp.sum(error, axis=0) / jnp.sum(others.reshape(16, -1, 3, 4), axis=0)

    mask, error = (np.asarray(each) for each in jax.jit(lambda: ours.apply(variables, rngs=rngs, method=both))())
    assert (mask.sum(axis=(1, 2)) == 9).all()
    assert error[mask].mean() > error[~mask].mean(), "errors over 16 other masks"
    plain = ours.clone(sampler=masking.Random(0.75))
    masks = [np.asarray(module.apply(variables, BATCH, False, method="_hidden")) for module in (ours, plain)]
    np.testing.assert_array_equal(*masks)  # evaluation hides random units


@pytest.mark.parametrize("name", ["masked", "simmim", "spark"])
def test_training_updates_the_network_and_masks_of_a_row_do_not_depend_on_other_rows(name):
    ours = methods()[name]
    rngs = {"hidden": jax.random.key(3)}
    variables = jax.jit(lambda: ours.init({"params": jax.random.key(0), **rngs}, BATCH, train=True))()

    def loss(params, batch):
        means, updated = ours.apply({**variables, "params": params}, batch, train=True, rngs=rngs, mutable=["batch_stats"])
        return sum(c * means[term].total for term, c in ours.coefficients.items()), updated

    slope = jax.jit(jax.grad(loss, has_aux=True))(variables["params"], BATCH)[0]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    assert any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slope["encoder"]))
    masks = jax.jit(lambda batch: ours.apply(variables, batch, True, rngs=rngs, method="_hidden"))
    half = {entry: leaf[4:] for entry, leaf in BATCH.items()}
    np.testing.assert_array_equal(masks(BATCH)[4:], masks(half))
