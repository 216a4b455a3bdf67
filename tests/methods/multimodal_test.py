"""aeseg/methods/multimodal.py, against the paper's token counts, torch's parameter counts and scipy's Dirichlet distribution."""

import functools

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from torch import nn

from aeseg import tree
from aeseg.methods import multimodal
from aeseg.methods.multimodal import Multimodal, shared_out
from aeseg.models.cross_decoder import CrossDecoder
from aeseg.models.encoders.vit import ViT
from aeseg.models.modalities.audio import Audio
from aeseg.models.modalities.image import Image
from aeseg.models.modalities.label import Label
from aeseg.models.modalities.planes import Planes
from aeseg.models.modalities.text import Text
from aeseg.spec import build
from aeseg.training.step import add
from aeseg.types import UserError
from tests.contract import large_inputs, shapes
from tests.methods import bottlenecks
from tests.methods import cases as methods
from tests.models.modalities import cases

BATCH = cases.batch()
ENCODER = ViT(width=8, depth=1, heads=2, patch=4, grid=(4, 4))
DECODER = CrossDecoder(width=8, depth=1, heads=2)
ALL = (Image(patch=4), Planes(patch=4), Label(3, patch=4, stride=2, embedding=4), Text(), Audio(patch=(5, 20)))
TOKENS = (16, 16, 16, 8, 8)


class StrideHead(linen.Module):
    """Logits at stride 4."""

    classes: int = 3

    @linen.compact
    def __call__(self, pyramid, *, train):
        return {4: linen.Conv(self.classes, (1, 1))(pyramid[4])}


def method(modalities=ALL, **fields):
    return Multimodal(ENCODER.clone(), modalities, DECODER.clone(), **{"visible": 12, **fields})


@functools.cache
def initial(ours):
    return jax.jit(lambda: ours.init(jax.random.key(0), BATCH, train=False))()


def evaluated(ours, variables, batch):
    """The Means of a batch in evaluation, and what each term is for each record."""
    return _evaluation(ours)(variables, batch)


@functools.cache
def _evaluation(ours):
    def evaluate(module, batch):
        seen = module._seen(batch, False)
        return module(batch, train=False), module._values(batch, seen, False), module._visible(batch, seen)

    return jax.jit(lambda variables, batch: ours.apply(variables, batch, method=evaluate))


def test_the_published_model_sees_98_of_588_tokens_and_a_global_one():
    """Bachmann et al. 2022, section 4.1: 98 visible tokens of 3 x 196 at 224 x 224."""
    ours = build(multimodal.recipe("b16"))
    inputs = large_inputs("method")

    def encode(module, batch):
        seen = module._seen(batch, False)
        return seen, module._encoded(batch, seen, False)

    def seen(inputs):
        return ours.apply(ours.init(jax.random.key(0), inputs, train=False), inputs, method=encode)

    found, encoded = jax.eval_shape(seen, inputs)
    assert found.order.shape == (2, 588)
    assert encoded.shape == (2, 99, 768)


def test_the_published_model_has_as_many_parameters_as_torchs_layers():
    """The layers of the authors' pretrain_multimae_base with four heads (RGB, RGB standardised, depth, 133 classes at stride 4).

    Positions are fixed there and here; the last norm of the encoder is ours (two numbers for each of 768 features).
    """
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(768, 12, 4 * 768), 12, enable_nested_tensor=False)
    adapters = [nn.Conv2d(3, 768, 16), nn.Conv2d(1, 768, 16), nn.Embedding(133, 64), nn.Conv2d(64, 768, 4)]
    decoders = []
    for numbers in (16 * 16 * 3, 16 * 16 * 3, 16 * 16, 4 * 4 * 133):
        tokens = [nn.Embedding(3, 256), nn.Embedding(1, 256), nn.Linear(768, 256)]
        crossed = [nn.MultiheadAttention(256, 8), nn.LayerNorm(256), nn.LayerNorm(256), nn.LayerNorm(256)]
        crossed += [nn.Linear(256, 1024), nn.Linear(1024, 256)]
        decoders += [*tokens, *crossed, *(nn.TransformerEncoderLayer(256, 8, 1024) for _ in range(2)), nn.Linear(256, numbers)]
    parts = [encoder, *adapters, nn.Embedding(1, 768), *decoders]
    expected = sum(parameter.numel() for part in parts for parameter in part.parameters())
    variables, _ = shapes(build(multimodal.recipe("b16")), large_inputs("method"))
    assert tree.count(variables["params"]) == expected + 2 * 768


def test_shares_are_a_dirichlet_draw():
    present = [jnp.ones(196, bool)] * 3
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = jax.jit(jax.vmap(lambda key, alpha: shared_out(key, present, 98, alpha), (0, None)))
    for alpha in (1.0, 5.0):
        seen = drawn(keys, alpha)
        modality = np.asarray(seen.order[:, :98]) // 196
        share = np.stack([(modality == kind).mean(axis=1) for kind in range(3)], axis=1)
        law = stats.dirichlet([alpha] * 3)
        np.testing.assert_allclose(share.mean(axis=0), law.mean(), atol=0.015)
        np.testing.assert_allclose(np.cov(share.T), law.cov(), atol=0.006)
        assert (seen.present == 98).all()
        assert all(len(np.unique(order)) == 588 for order in np.asarray(seen.order[:50]))
        tokens = np.bincount(np.asarray(seen.order[:, :98]).ravel(), minlength=588) / 4000
        assert stats.chisquare(tokens[:196]).pvalue > 0.001  # any token of a modality as likely as any other
    single = stats.kstest(share[:, 0], stats.beta(5, 10).cdf)
    assert single.statistic < 0.03


def test_a_record_that_lacks_a_modality_shares_out_among_the_others():
    keys = jax.random.split(jax.random.key(0), 2000)
    present = [jnp.ones(16, bool), jnp.zeros(16, bool), jnp.ones(16, bool)]
    seen = jax.jit(jax.vmap(lambda key: shared_out(key, present, 10, 1.0)))(keys)
    modality = np.asarray(seen.order[:, :10]) // 16
    assert not (modality == 1).any()
    share = (modality == 0).mean(axis=1)
    assert share.mean() == pytest.approx(0.5, abs=0.02)
    assert share.var() == pytest.approx(1 / 12, abs=0.01)  # Dirichlet(1, 1): even
    assert (np.asarray(seen.order[:, 32:]) // 16 == 1).all(), "missing tokens come last"


def test_a_record_with_fewer_tokens_shows_them_all():
    present = [jnp.zeros(16, bool), jnp.arange(16) < 3]
    seen = jax.jit(lambda key: shared_out(key, present, 10, 1.0))(jax.random.key(0))
    assert seen.present == 3
    assert sorted(seen.order[:3].tolist()) == [16, 17, 18]


def test_every_modality_learns_from_a_step():
    ours = method()
    variables = initial(ours)

    def loss(params):
        means = ours.apply({"params": params}, BATCH, train=True, rngs=bottlenecks.rngs())
        return sum(c * means[name].value() for name, c in ours.coefficients.items()), means

    (_, means), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    assert set(means) == {
        "image_squared_error",
        "depth_absolute_error",
        "label_cross_entropy",
        "caption_cross_entropy",
        "sound_squared_error",
    }
    assert all(np.isfinite(mean.value()) and mean.weight == 4 for mean in means.values())
    assert [path for path, leaf in tree.flatten(gradient).items() if not np.any(leaf)] == []


def test_what_a_record_lacks_changes_nothing_and_weighs_nothing():
    ours = method()
    lacking = {**BATCH, "has_depth": jnp.array([True, False, True, True]), "has_caption": jnp.zeros(4, bool)}
    other = {**lacking, "depth": BATCH["depth"].at[1].set(9.0), "caption": jnp.full((4, 8), 65, jnp.uint8)}
    variables = initial(ours)
    first, second = (evaluated(ours, variables, batch)[0] for batch in (lacking, other))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert {name: int(mean.weight) for name, mean in first.items()} == {
        "image_squared_error": 4,
        "depth_absolute_error": 3,
        "label_cross_entropy": 4,
        "caption_cross_entropy": 0,
        "sound_squared_error": 4,
        "psnr": 4,
    }
    assert ours.denominators(lacking) == {name: mean.weight for name, mean in first.items()}


def test_missing_tokens_in_the_encoders_row_change_nothing():
    """A record of depth alone has 16 tokens: whether the encoder has room for 16 or 40 is the same to it."""
    modalities = (ALL[0], ALL[1], ALL[3])
    lonely = {**BATCH, **{f"has_{each.key}": jnp.zeros(4, bool) for each in modalities if each.key != "depth"}}
    few, many = method(modalities, visible=16), method(modalities, visible=40)
    one, other = (evaluated(ours, initial(few), lonely)[:2] for ours in (few, many))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), one[0], other[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), one[1], other[1])


def test_the_error_is_of_hidden_tokens_alone():
    ours = method(ALL[:2])
    means, values, visible = evaluated(ours, initial(ours), BATCH)
    assert sum(each.sum() for each in visible.values()) == 4 * 12
    each = []
    for row in range(4):
        hidden = ~np.asarray(visible["depth"][row])
        target = np.asarray(BATCH["depth"][row]).reshape(4, 4, 4, 4).transpose(0, 2, 1, 3).reshape(16, 16)
        each.append(np.abs(np.asarray(values["depth_absolute_error"][row]) - target)[hidden].mean() if hidden.any() else 0)
    assert means["depth_absolute_error"].value() == pytest.approx(np.mean(each), rel=1e-5)


def test_microbatches_add_up_to_the_batch():
    ours = method()
    variables = initial(ours)
    order = [jnp.array(rows) for rows in ((0, 2, 1, 3), (1, 3, 0, 2))]
    halves = [{name: leaf[rows] for name, leaf in BATCH.items()} | {"valid": jnp.arange(4) < 2} for rows in order]
    train = jax.jit(lambda batch: ours.apply(variables, batch, train=True, rngs=bottlenecks.rngs()))
    whole, parts = train(BATCH), [train(half) for half in halves]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole, add(*parts))


def test_the_encoder_sees_mixed_tokens_as_it_sees_patches():
    variables = jax.jit(lambda: ENCODER.init(jax.random.key(0), BATCH["image"], train=False))()
    order = jnp.array([[3, 7, 8, 1]] * 4)
    hidden = jnp.ones((4, 16), bool).at[:, jnp.array([1, 3, 7, 8])].set(False).reshape(4, 4, 4)

    @jax.jit
    def embedded(further, order, counts):
        return ENCODER.apply(variables, BATCH["image"], further, order, counts, train=False, method="embed_with")

    expected = jax.jit(lambda: ENCODER.apply(variables, BATCH["image"], hidden, 4, train=False, method="embed_visible"))()
    found = embedded(jnp.zeros((4, 0, 8)), order, jnp.full(4, 4))
    np.testing.assert_allclose(found[:, jnp.array([0, 4, 1, 2, 3])], expected, atol=1e-5)
    other = jnp.concatenate([order, jnp.full((4, 2), 16)], axis=1)  # two of a token that does not count
    padded, counted = (embedded(jnp.ones((4, 1, 8)), other, jnp.full(4, count)) for count in (4, 6))
    np.testing.assert_allclose(padded[:, :5], found, atol=1e-5)
    assert np.abs(counted[:, :5] - found).max() > 1e-3


def test_pictures_show_every_modality_that_can_be_shown():
    ours = method(extra=(Image(patch=4, standardised=True),))
    shown, _ = jax.jit(lambda: ours.init_with_output(jax.random.key(0), BATCH, method="show"))()
    assert shown.keys() == {"image", "image_visible", "reconstruction_image", "reconstruction_depth", "reconstruction_label"}
    grey = (np.asarray(shown["image_visible"]) == 0.5).all(axis=-1)
    kept = np.asarray(shown["reconstruction_image"] == BATCH["image"]).all(axis=-1)
    np.testing.assert_array_equal(~grey, kept)


def test_its_encoder_starts_a_segmenter():
    bottlenecks.check_starts_a_segmenter(method(), BATCH, StrideHead())


def test_a_run_resumes_to_the_bit_and_does_not_depend_on_devices(tmp_path):
    ours = Multimodal(ENCODER.clone(), (Image(patch=4),), DECODER.clone(), visible=5)
    bottlenecks.check_resumes_and_spreads(tmp_path, ours)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"modalities": ALL[1:]}, r"the image first and every key once.*got \['depth', 'label', 'caption', 'sound'\]"),
        ({"modalities": (*ALL, Planes(patch=8))}, "every key once"),
        ({"modalities": ALL[:1], "extra": (Planes(patch=4),)}, r"extra no other keys; got \['image'\] and \['depth'\]"),
        ({"visible": 0}, "visible of 1 or more and alpha above 0; got 0 and 1.0"),
        ({"alpha": 0.0}, "got 12 and 0.0"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        method(**fields)


def test_an_encoder_without_tokens_is_named():
    with pytest.raises(UserError, match=r"an encoder of tokens \(embed_with\): vit; got PlainEncoder"):
        Multimodal(methods.PlainEncoder(), ALL, DECODER.clone())
