import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import keys, masking
from aeseg.spec import build, from_json, spec, to_json
from aeseg.types import UserError

KEY = jax.random.key(0)
IMAGE = jnp.asarray(np.random.default_rng(0).uniform(0.2, 0.8, (64, 48, 3)), jnp.float32)

SAMPLERS = (
    masking.Random(0.6),
    masking.RandomUp(0.6),
    masking.Block(0.5),
    masking.Block(0.75, smallest=4),
    masking.Grid(0.75),
    masking.Grid(0.5),
)


@pytest.mark.parametrize(("n", "ratio"), [(7, 0.6), (14, 0.6), (14, 0.75), (14, 0.9), (16, 0.75), (6, 0.6), (5, 0.6), (10, 0.6), (12, 0.4)])
def test_the_number_of_hidden_units_follows_each_papers_code(n, ratio):
    """MAE and FCMAE keep int(L (1 - r)) of L units, SimMIM hides ceil(L r), SparK keeps round(L (1 - r))."""
    length = n * n
    mae, simmim, spark = length - int(length * (1 - ratio)), int(np.ceil(length * ratio)), length - round(length * (1 - ratio))
    assert masking.RandomUp(ratio).count(n, n) == mae == simmim
    assert masking.Random(ratio).count(n, n) == spark


def drawn(sampler, h, w, rows=200):
    return np.asarray(jax.jit(lambda key: masking.hidden_units(sampler, key, h, w))(keys.per_row(KEY, jnp.arange(rows))))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_hides_equally_many_but_different_units_of_every_image(sampler):
    hidden = drawn(sampler, 6, 10, rows=40)
    assert set(hidden.sum(axis=(1, 2)).tolist()) == {sampler.count(6, 10)} == {round(sampler.ratio * 60)}
    assert np.any(hidden[0] != hidden[1:])
    assert build(from_json(to_json(spec(type(sampler), **vars(sampler))))) == sampler


def test_hidden_units_have_the_papers_counts():
    """He et al. 2022: 75 % of ViT-B/16's 196 patches and of ViT-H/14's 256."""
    assert masking.Random(0.75).count(14, 14) == masking.Grid(0.75).count(14, 14) == 147
    assert masking.Random(0.75).count(16, 16) == 192


def test_random_sampling_hides_every_unit_equally_often():
    often = drawn(masking.Random(0.75), 4, 6, rows=2000).mean(axis=0)
    np.testing.assert_allclose(often, 0.75, atol=0.05)


def test_a_grid_is_alike_in_every_2x2_and_differs_from_image_to_image():
    hidden = drawn(masking.Grid(0.75), 4, 6)
    cells = hidden.reshape(-1, 2, 2, 3, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 6, 4)
    np.testing.assert_array_equal(cells, cells[:, :1].repeat(6, axis=1))
    assert {tuple(cell) for cell in (~cells[:, 0]).astype(int).tolist()} == {(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)}


def test_blocks_lie_together_where_random_units_do_not():
    def together(sampler):
        hidden = drawn(sampler, 14, 14, rows=40)
        return (hidden[:, 1:] == hidden[:, :-1]).mean()

    assert together(masking.Block(0.5)) > 0.85
    assert together(masking.Random(0.5)) == pytest.approx(0.5, abs=0.04)


def test_one_block_is_a_rectangle_of_its_size():
    """If the smallest rectangle has all hidden units, the first rectangle is enough unless the image edge cuts it."""
    hidden = drawn(masking.Block(0.1, smallest=40), 20, 20, rows=60)
    rows, columns = hidden.any(axis=2).sum(axis=1), hidden.any(axis=1).sum(axis=1)
    assert np.median(rows * columns) == pytest.approx(40, abs=6)
    assert {True, False} == set((rows > columns).tolist())


def test_units_expand_to_pixels_and_a_grid_that_they_do_not_fill_is_named():
    hidden = jnp.array([[[True, False]]])
    assert masking.spread(hidden, 2).astype(int).tolist() == [[[1, 1, 0, 0], [1, 1, 0, 0]]]
    assert masking.unit_grid(96, 64, 32) == (3, 2)
    with pytest.raises(UserError, match=r"units are 32 x 32 pixels; they do not tile the image of 100 x 16.*to 96 x 32"):
        masking.unit_grid(100, 16, 32)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (lambda: masking.RandomUp(0.0), "RandomUp takes a ratio of more than 0 and less than 1; got 0.0"),
        (lambda: masking.Random(1.0), "Random takes a ratio of more than 0 and less than 1; got 1.0"),
        (lambda: masking.Grid(0.6), "Grid takes a ratio of 0.25, 0.5 or 0.75; got 0.6"),
        (lambda: masking.Block(0.5, 0), "Block takes a smallest of 1 or more; got 0"),
        (lambda: masking.Random(0.1)(KEY, 2, 2), "Random must hide some .*; ratio 0.1 of 2 x 2 hides none"),
        (lambda: masking.Block(0.9)(KEY, 2, 2), "Block must hide some .*; ratio 0.9 of 2 x 2 hides all"),
        (lambda: masking.Grid()(KEY, 3, 4), "Grid hides the same units of every 2x2 square; the image has 3 x 4"),
    ],
)
def test_ratios_that_hide_all_or_nothing_are_named(sample, message):
    with pytest.raises(UserError, match=message):
        sample()
