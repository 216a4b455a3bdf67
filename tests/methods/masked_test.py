import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import images, masking, objectives, tree
from aeseg.methods import masked
from aeseg.methods.masked import Masked
from aeseg.models.encoders.vit import ViT
from aeseg.models.token_decoder import TokenDecoder
from aeseg.spec import build
from aeseg.types import UserError
from tests import contract, jitted
from tests.methods import cases

BATCH = cases.batch()  # 12 x 16 pixels: 3 x 4 patches
SMALL = {"width": 8, "depth": 1, "heads": 2, "patch": 4, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}


def method(sampler=masking.Random(0.75), has_mask_token=False, **fields):  # noqa: B008  (a frozen dataclass)
    return Masked(ViT(**SMALL, has_mask_token=has_mask_token), TokenDecoder(8, 1, 2), sampler, **fields)


def initial(ours, batch=BATCH):
    return jax.jit(lambda: ours.init(jax.random.key(0), batch, train=False))()


@pytest.mark.parametrize("size", ["b16", "l16", "h14"])
def test_the_papers_sizes_have_their_parameters(size):
    """Trainable parameters only: computed position tables are not counted."""
    variables, _ = contract.traced("method", "masked", size)
    counts = {part: tree.count(leaves) for part, leaves in variables["params"].items()}
    assert (sum(counts.values()), counts["encoder"], counts["decoder"]) == {
        "b16": (111_655_680, 85_647_360, 26_008_320),
        "l16": (329_239_296, 303_099_904, 26_139_392),
        "h14": (656_613_964, 630_435_840, 26_178_124),
    }[size]
    ours = contract.built("method", "masked", size)
    grid = 224 // ours.encoder.patch
    assert (grid**2, ours.sampler.count(grid, grid)) == ((256, 192) if size == "h14" else (196, 147))


@pytest.mark.parametrize("fields", [{"standardised": True}, {"mask_token_in_encoder": True, "has_mask_token": True}])
def test_microbatches_and_denominators_are_right_for_every_setting(fields):
    ours, sampler = method(**fields), masking.Grid(0.5)
    ours = ours.clone(sampler=sampler, encoder=ours.encoder.clone(patch=2))
    variables = initial(ours)
    evaluated = jax.jit(lambda batch: ours.apply(variables, batch, train=False))
    means = evaluated(BATCH)
    denominators = ours.denominators(BATCH)
    assert {name: float(mean.weight) for name, mean in means.items()} == {name: float(w) for name, w in denominators.items()}
    halves = [evaluated({name: leaf[rows] for name, leaf in BATCH.items()}) for rows in (slice(0, 4), slice(4, 8))]
    for name, mean in means.items():
        assert mean.total == pytest.approx(float(halves[0][name].total + halves[1][name].total), rel=1e-5)


def test_pixels_under_hidden_patches_change_no_prediction():
    """Only the decoder's values are compared, since pictures show standardised patches with their mean."""
    for fields in ({}, {"mask_token_in_encoder": True, "has_mask_token": True}):
        ours = method(**fields)
        variables = initial(ours)
        hidden = ours._hidden(BATCH, False)
        other = jnp.where(masking.spread(hidden, 4)[..., None], 1 - BATCH["image"], BATCH["image"])
        values = jax.jit(lambda image: ours.apply(variables, image, hidden, False, method="_values"))  # noqa: B023  (called below)
        first, second = values(BATCH["image"]), values(other)
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("standardised", [False, True])
def test_the_error_is_over_hidden_patches_in_the_unit_of_the_target(standardised):
    ours = method(standardised=standardised)
    variables = initial(ours)
    hidden = np.asarray(ours._hidden(BATCH, False))
    values = np.asarray(jitted.apply(ours, variables, BATCH["image"], jnp.asarray(hidden), False, method="_values"), np.float64)
    seen = (np.asarray(BATCH["image"], np.float64) - SMALL["mean"]) / np.asarray(SMALL["std"])
    errors = []
    for row in np.flatnonzero(BATCH["valid"]):
        for y, x in np.argwhere(hidden[row]):
            patch = seen[row, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].reshape(-1)
            if standardised:
                patch = (patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + 1e-6)
            errors.append(np.mean((values[row, y, x] - patch) ** 2))
    assert len(errors) == 6 * 9
    assert jitted.apply(ours, variables, BATCH, train=False)["squared_error"].value() == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.parametrize("standardised", [False, True])
def test_a_perfect_decoder_reconstructs_the_image(monkeypatch, standardised):
    ours = method(standardised=standardised)
    variables = initial(ours)
    monkeypatch.setattr(Masked, "_values", lambda self, image, hidden, train: self._target(image))
    shown = jitted.apply(ours, variables, BATCH, method="show")
    assert list(shown) == ["image", "visible", "reconstruction", "prediction"]
    np.testing.assert_allclose(shown["prediction"], BATCH["image"], atol=1e-5)
    means = jitted.apply(ours, variables, BATCH, train=False)
    assert means["squared_error"].total == 0
    assert means["psnr"].value() > 80


def test_reconstructions_are_shown_with_visible_patches_pasted_in_and_without():
    ours = method()
    variables = initial(ours)
    shown = jitted.apply(ours, variables, BATCH, method="show")
    hidden = np.asarray(masking.spread(ours._hidden(BATCH, False), 4))
    assert hidden.mean() == 0.75
    np.testing.assert_array_equal(shown["visible"][hidden], masking.HIDDEN_COLOUR)
    for name in ("visible", "reconstruction"):
        np.testing.assert_array_equal(shown[name][~hidden], BATCH["image"][~hidden])
    np.testing.assert_array_equal(shown["reconstruction"][hidden], shown["prediction"][hidden])
    assert np.any(shown["prediction"][~hidden] != BATCH["image"][~hidden])


def test_training_hides_by_its_key_and_evaluation_is_reproducible():
    ours = method()
    variables, call = initial(ours), jax.jit(ours.apply, static_argnames="train")

    def error(train, key=0):
        rngs = {"hidden": jax.random.key(key)} if train else {}
        return float(call(variables, BATCH, train=train, rngs=rngs)["squared_error"].total)

    assert error(True, 0) == error(True, 0) != error(True, 1)
    assert error(False) == error(False)


def test_patches_are_cut_and_put_back_and_an_image_without_hidden_ones_counts_0():
    image = BATCH["image"]
    cut = images.patches(image, 4)
    np.testing.assert_array_equal(cut[0, 1, 2], image[0, 4:8, 8:12].reshape(-1))
    np.testing.assert_array_equal(images.from_patches(cut, 4), image)
    nothing = objectives.hidden_error(cut, jnp.zeros((8, 3, 4), bool), BATCH["valid"])
    assert (nothing.total, nothing.weight) == (0, 6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: method().clone(encoder=cases.PlainEncoder()), r"Masked needs .*PlainEncoder does not. Those of .*: vit"),
        (lambda: method(mask_token_in_encoder=True), "must equal the encoder.s has_mask_token; got True and False"),
        (lambda: initial(method(masking.Random(0.01))), "Random must hide some .*; ratio 0.01 of 3 x 4 hides none"),
        (
            lambda: initial(method(), {**BATCH, "image": BATCH["image"][:, :10]}),
            "units are 4 x 4 pixels; they do not tile the image of 10 x 16",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_the_recipe_hides_three_quarters():
    assert build(masked.recipe("small")).sampler == masking.Random(0.75)
