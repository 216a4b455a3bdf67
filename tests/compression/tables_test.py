import math

import numpy as np
import pytest
import torch

from aeseg.compression import tables
from aeseg.models.entropy import LARGEST_SCALE, LEAST_SCALE, LEVELS


def bits(mass, counts):
    """Return (entropy, expected code length with these counts), in bits."""
    mass = mass / mass.sum()
    kept = mass > 0
    return -(mass[kept] * np.log2(mass[kept])).sum(), -(mass * np.log2(counts / tables.TOTAL)).sum()


def test_counts_are_positive_sum_to_the_total_and_cost_hardly_more_than_the_entropy():
    mass = np.random.default_rng(0).dirichlet(np.full(300, 0.1))
    counts = tables.quantised(mass)
    assert counts.min() >= 1
    assert counts.sum() == tables.TOTAL
    entropy, cost = bits(mass, counts)
    assert entropy < cost < 1.01 * entropy


def test_scales_run_from_the_least_to_the_largest_and_their_tables_are_torchs_normal_distributions():
    every = tables.of_scales()
    assert len(every) == LEVELS
    for level in (0, 20, 40, LEVELS - 1):
        scale = LEAST_SCALE * (LARGEST_SCALE / LEAST_SCALE) ** (level / (LEVELS - 1))
        table = every[level]
        values = torch.arange(table.low, table.low + table.escape, dtype=torch.float64)
        assert table.low == -max(1, math.ceil(4.5 * scale)) == -values[-1]
        normal = torch.distributions.Normal(0.0, torch.tensor(scale, dtype=torch.float64))
        mass = (normal.cdf(values + 0.5) - normal.cdf(values - 0.5)).numpy()
        entropy, cost = bits(mass, table.counts[:-1])
        assert cost - entropy < 0.03
        assert table.counts.sum() == tables.TOTAL


def test_the_table_of_a_density_covers_what_is_likely():
    values = np.arange(-tables.FURTHEST, tables.FURTHEST + 1)
    mass = np.exp(-0.5 * ((values - 7) / 2.0) ** 2)
    table = tables.of_density(mass / mass.sum())
    assert -3 < table.low < 2
    assert 12 < table.low + table.escape - 1 < 18
    assert table.low + np.argmax(table.counts) == 7


@pytest.mark.parametrize("mass", [np.zeros(511), np.eye(511)[3]])
def test_a_density_of_nothing_or_of_one_value_has_a_table(mass):
    table = tables.of_density(mass)
    assert table.counts.sum() == tables.TOTAL
    assert table.counts.min() >= 1
