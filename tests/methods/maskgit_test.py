"""aeseg/methods/maskgit.py, against the paper's schedule, torch's cross entropy and a record of its decoding."""

import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg import images, keys, tree
from aeseg.methods import maskgit
from aeseg.methods.maskgit import CodeTransformer, MaskedCodes, hidden_after
from aeseg.methods.quantised import QuantisedAutoencoder
from aeseg.models.quantisers import FiniteScalar
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.methods import bottlenecks, cases

BATCH = {**cases.batch(), "index": jnp.arange(8, dtype=jnp.int32)}
VALID = np.asarray(BATCH["valid"])
CODES = 3 * 4  # of an image of 12 x 16 at stride 4


class Decoder(nn.Module):
    """An image's values from stride 4."""

    @nn.compact
    def __call__(self, pyramid, *, train):
        return images.from_patches(nn.Dense(48)(pyramid[4]), 4)


def method(**fields):
    autoencoder = QuantisedAutoencoder(cases.PlainEncoder(), Decoder(), FiniteScalar((5, 4)))
    return MaskedCodes(autoencoder, **{"width": 8, "depth": 1, "heads": 2, **fields})


OURS = method()
VARIABLES = jitted.init(OURS, jax.random.key(0), BATCH, train=False)
VARIABLES = {**VARIABLES, "params": jax.tree.map(lambda leaf: 3 * leaf + 0.1, VARIABLES["params"])}  # confident, so that choices differ
ROWS = keys.per_row(jax.random.key(5), jnp.arange(8))


def called(name, *arguments, **named):
    return jitted.apply(OURS, VARIABLES, *arguments, method=name, **named)


def logits(codes, hidden):
    return called(lambda module, *state: module.network(*state, train=False), codes, hidden)


def decoded(steps, temperature=4.5, codes=None, hidden=None):
    """Return the (codes, hidden) that the transformer sees at each step, and the final codes."""
    seen = []
    codes = jnp.zeros((8, 3, 4), jnp.int32) if codes is None else codes
    hidden = jnp.ones((8, 3, 4), bool) if hidden is None else hidden

    def record(call, arguments, named, context):
        if isinstance(context.module, CodeTransformer) and context.method_name == "__call__":
            jax.debug.callback(lambda *state: seen.append([np.asarray(part) for part in state]), *arguments, ordered=True)
        return call(*arguments, **named)

    with nn.intercept_methods(record):
        final = called("completed", ROWS, codes, hidden, temperature, steps)
    jax.effects_barrier()
    return seen, np.asarray(final)


def test_the_number_of_hidden_codes_follows_the_papers_cosine():
    """ceil(cos(pi t / 2 T) N) for N = 64 and T = 8; the cosines are .9808 .9239 .8315 .7071 .5556 .3827 .1951 0."""
    steps = jnp.arange(1, 9)
    assert hidden_after(jnp.full(8, 64), steps / 8).tolist() == [63, 60, 54, 46, 36, 25, 13, 0]
    assert hidden_after(jnp.full(4, 100), jnp.array([0.0, 1 / 3, 2 / 3, 1.0])).tolist() == [100, 87, 50, 0], "cos 60° is 1/2"


@pytest.mark.parametrize("steps", [1, 4, 12])
def test_decoding_hides_by_the_schedule_and_decodes_every_code_exactly_once(steps):
    seen, final = decoded(steps)
    assert len(seen) == steps
    counts = [hidden.reshape(8, -1).sum(axis=1) for _, hidden in seen]
    formula = [math.ceil(math.cos(math.pi / 2 * step / steps) * CODES - 1e-9) for step in range(steps)]
    limit = [CODES - step for step in range(steps)]  # at least one code is decoded in a step
    for count, wanted, most in zip(counts, formula, limit, strict=True):
        np.testing.assert_array_equal(count, min(wanted, most))
    states = [*seen, (final, np.zeros_like(seen[0][1]))]
    for (codes, hidden), (later, still) in itertools.pairwise(states):
        assert not np.any(still & ~hidden), "a visible code stays visible"
        np.testing.assert_array_equal(later[~hidden], codes[~hidden], err_msg="a visible code keeps its value")
    assert final.min() >= 0
    assert final.max() < 20


def test_without_temperature_the_most_confident_codes_are_kept():
    seen, _ = decoded(3, temperature=0.0)
    (start, hidden), (drawn, left) = seen[:2]
    log_probability = np.asarray(jax.nn.log_softmax(logits(jnp.asarray(start), jnp.asarray(hidden))))
    confidence = np.take_along_axis(log_probability, drawn[..., None], axis=-1)[..., 0]
    assert np.ptp(confidence) > 0.1
    for row, hides in zip(confidence, left, strict=True):
        assert row[~hides].min() >= row[hides].max()


def test_with_temperature_the_choice_is_random_and_the_noise_ends_at_0():
    cold, hot = (decoded(3, temperature)[0] for temperature in (0.0, 1e3))
    assert np.any(cold[1][1] != hot[1][1])
    np.testing.assert_array_equal(cold[1][0], hot[1][0], err_msg="the codes drawn in the first step do not depend on it")


def test_visible_codes_stay_and_the_hidden_ones_are_decoded():
    codes = jnp.arange(96).reshape(8, 3, 4) % 20
    hidden = jnp.zeros((8, 3, 4), bool).at[1, 0, 0].set(True).at[2].set(True)
    seen, final = decoded(4, codes=codes, hidden=hidden)
    np.testing.assert_array_equal(final[~np.asarray(hidden)], codes[~hidden])
    assert [state[1][1].sum() for state in seen] == [1, 0, 0, 0]
    assert [state[1][0].sum() for state in seen] == [0, 0, 0, 0]


def test_samples_are_the_decoded_codes_and_depend_only_on_their_key():
    options = {"temperature": 4.5, "steps": 3}
    drawn = called("sample", ROWS, BATCH["image"], **options)
    again = called("sample", ROWS[3:5], BATCH["image"][:2], **options)
    np.testing.assert_allclose(drawn[3:5], again, rtol=1e-5, atol=1e-6)
    assert np.any(drawn != called("sample", ROWS[::-1], BATCH["image"], **options))
    codes = jnp.asarray(decoded(3)[1])
    frozen = VARIABLES["autoencoder"]["frozen"]["weights"]
    vectors = jitted.apply(OURS.autoencoder, frozen, codes, method=lambda module, codes: module.quantiser.vectors(codes))
    values = jitted.apply(Decoder(), {"params": frozen["params"]["decoder"]}, {4: vectors}, train=False)
    np.testing.assert_allclose(drawn, jax.nn.sigmoid(values), rtol=1e-5, atol=1e-6)


def test_between_two_images_lie_the_reconstructions_of_both_at_the_ends():
    image = BATCH["image"]
    fractions = jnp.array([0.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    drawn = called("between", ROWS, image, image[::-1], fractions, temperature=4.5, steps=3)
    frozen = VARIABLES["autoencoder"]["frozen"]["weights"]
    codes = jitted.apply(OURS.autoencoder, frozen, image, method="encode")
    plain = np.asarray(jitted.apply(OURS.autoencoder, frozen, codes, 4, method="decode"))
    np.testing.assert_allclose(drawn[0], plain[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(drawn[1], plain[-2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(drawn[2:, :, :4], plain[2:, :, :4], rtol=1e-5, atol=1e-6, err_msg="a quarter is the first image's")
    np.testing.assert_allclose(drawn[2:, :, 12:], plain[::-1][2:, :, 12:], rtol=1e-5, atol=1e-6, err_msg="a quarter is the second's")


def test_the_loss_is_torchs_cross_entropy_of_the_hidden_codes():
    codes, hidden = called("_hidden", BATCH, False)
    values = np.asarray(logits(codes, hidden))
    means = jitted.apply(OURS, VARIABLES, BATCH, train=False)
    chosen = np.asarray(hidden) & VALID[:, None, None]
    given = torch.tensor(values[chosen]), torch.tensor(np.asarray(codes)[chosen]).long()
    for name, smoothing in (("objective", 0.1), ("cross_entropy", 0.0)):
        total = torch.nn.functional.cross_entropy(*given, label_smoothing=smoothing, reduction="sum")
        assert means[name].value() == pytest.approx(float(total) / (6 * CODES * 2 / math.pi), rel=1e-5)
    rows = [np.mean((values.argmax(axis=-1) == codes)[row][np.asarray(hidden)[row]]) for row in np.flatnonzero(VALID)]
    assert means["accuracy"].value() == pytest.approx(np.mean(rows), rel=1e-5)


def test_hidden_codes_are_not_seen():
    codes, hidden = called("_hidden", BATCH, False)
    other = jnp.where(hidden, (codes + 7) % 20, codes)
    np.testing.assert_array_equal(logits(codes, hidden), logits(other, hidden))
    assert np.any(logits(codes, hidden) != logits((codes + 7) % 20, hidden))


def test_training_hides_two_of_pi_codes_on_average_and_never_none():
    many = {"image": jnp.zeros((1024, 12, 16, 3)), "valid": jnp.ones(1024, bool), "index": jnp.arange(1024)}
    rngs = {"hidden": jax.random.key(1)}
    hidden = jitted.apply(OURS, VARIABLES, many, True, method="_hidden", rngs=rngs)[1]
    counts = np.asarray(hidden).reshape(1024, -1).sum(axis=1)
    assert counts.min() >= 1
    ratios = (np.arange(100_000) + 0.5) / 100_000
    expected = np.ceil(np.cos(np.pi / 2 * ratios) * CODES)
    assert abs(counts.mean() - expected.mean()) < 4 * expected.std() / math.sqrt(1024)
    assert np.ptp(np.asarray(hidden).mean(axis=0)) < 0.15, "no position is preferred"


@pytest.mark.parametrize("microbatches", [2])
def test_training_changes_only_the_transformer_and_microbatches_change_nothing(microbatches):
    whole, after = bottlenecks.train_step(OURS, VARIABLES, BATCH)
    parts, again = bottlenecks.train_step(OURS, VARIABLES, BATCH, microbatches)
    total = sum(means["objective"].total for means in parts)
    assert float(whole[0]["objective"].total) == pytest.approx(float(total), rel=1e-5)
    for later in (after, again):
        for name, leaf in tree.flatten(VARIABLES["autoencoder"]).items():
            np.testing.assert_array_equal(tree.flatten(later["autoencoder"])[name], leaf)
    assert list(VARIABLES["params"]) == ["network"]


def test_a_run_resumes_bit_for_bit_and_does_not_depend_on_devices(tmp_path):
    bottlenecks.check_resumes_and_spreads(tmp_path, build(maskgit.recipe("tiny")))


def test_bad_fields_are_refused():
    for fields, says in (({"depth": 0}, "depth of 1 or more; got 0"), ({"smoothing": 1.0}, "smoothing of 0 or more and less than 1")):
        with pytest.raises(UserError, match=says):
            method(**fields)
