import numpy as np
import pytest

from aeseg.compression import coding, tables
from aeseg.compression.tables import Table

RANDOM = np.random.default_rng(0)
LEVELS = RANDOM.integers(0, 60, (9, 7, 5))
LATENT = np.round(RANDOM.normal(size=LEVELS.shape).clip(-4, 4) * 0.11 * np.exp(0.123 * LEVELS)).astype(np.int64)
HYPER = RANDOM.integers(-3, 4, (3, 2, 4))
HYPER_TABLES = [Table(-3, tables.quantised(np.ones(8))) for _ in range(4)]
TABLES = tables.of_scales()


def encoded(hyper=HYPER, latent=LATENT):
    return coding.encoded(hyper, HYPER_TABLES, latent, LEVELS, TABLES)


def decoded(words):
    decoder = coding.Decoder(words)
    hyper = decoder.hyper_latent((3, 2), HYPER_TABLES)
    return hyper, decoder.latent(LEVELS, TABLES)


def test_what_is_encoded_is_decoded_and_costs_the_bits_of_the_tables():
    words = encoded()
    hyper, latent = decoded(words)
    np.testing.assert_array_equal(hyper, HYPER)
    np.testing.assert_array_equal(latent, LATENT)
    chosen = [(TABLES[level], value) for value, level in zip(LATENT.flat, LEVELS.flat, strict=True)]
    counts = [table.counts[value - table.low] for table, value in chosen]
    counts += [HYPER_TABLES[0].counts[value + 3] for value in HYPER.flat]
    assert np.abs(LATENT).max() > 50, "the test should see large values"
    assert 32 * len(words) == pytest.approx(-np.log2(np.array(counts) / tables.TOTAL).sum(), abs=64)


def test_values_outside_a_table_are_escaped():
    latent, hyper = LATENT.copy(), HYPER.copy()
    latent[0, 0] = [coding.LARGEST - 1, 1 - coding.LARGEST, 5000, -5000, 0]
    hyper[0, 0, :2] = [4, -100_000]
    found = decoded(encoded(hyper, latent))
    np.testing.assert_array_equal(found[0], hyper)
    np.testing.assert_array_equal(found[1], latent)


def test_the_words_are_those_of_version_1():
    """Every version and machine must write and read the same words: a change needs another `container.VERSION`."""
    tested = [Table(-1, np.array([9_000, 50_000, 6_000, 536])), Table(0, np.array([65_534, 1, 1]))]
    hyper = np.array([[[0, 0], [1, 0]], [[-1, 1], [7, 0]]])
    words = coding.encoded(hyper, tested, np.array([[[0, -2]]]), np.array([[[0, 30]]]), TABLES)
    assert words.tolist() == [3580769182, 4029051146, 2153599798]


@pytest.mark.parametrize("change", ["cut", "ones", "nothing"])
def test_other_words_decode_to_something_else_or_raise_damaged(change):
    words = encoded()
    wrong = {"cut": words[: len(words) // 2], "ones": np.full(40, 2**32 - 1, np.uint32), "nothing": words[:0]}[change]
    try:
        hyper, latent = decoded(wrong)
    except coding.DamagedError:
        return
    assert (hyper != HYPER).any() or (latent != LATENT).any()
