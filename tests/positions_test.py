import numpy as np
import pytest
import torch
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

from aeseg import positions
from aeseg.types import UserError


@pytest.mark.parametrize(("h", "w", "leading"), [(4, 4, 1), (3, 7, 0)])
def test_sines_and_cosines_equal_the_reference_with_its_column_first(h, w, leading):
    theirs = build_2d_sinusoidal_position_embedding(h, w, 24, cls_token=bool(leading))  # row first
    theirs = torch.cat([theirs[:, 12:], theirs[:, :12]], dim=1)  # as transformers transposes it for MAE's weights
    np.testing.assert_allclose(positions.sine_cosine(h, w, 24, leading), theirs, atol=1e-6)


def test_the_columns_are_in_the_first_half():
    table = positions.sine_cosine(2, 3, 8).reshape(2, 3, 8)
    np.testing.assert_array_equal(table[0, :, :4], table[1, :, :4])
    np.testing.assert_array_equal(table[:, 0, 4:], table[:, 2, 4:])
    np.testing.assert_allclose(table[1, 2, :1], np.sin(2))


@pytest.mark.parametrize("leading", [0, 1])
@pytest.mark.parametrize(("old", "new"), [((4, 4), (3, 7)), ((3, 5), (6, 2)), ((2, 2), (5, 5)), ((6, 4), (4, 6))])
def test_a_learned_table_is_resized_as_in_torch(old, new, leading):
    table = np.random.default_rng(0).normal(size=(leading + old[0] * old[1], 5)).astype(np.float32)
    grid = torch.from_numpy(table[leading:]).reshape(1, *old, 5).permute(0, 3, 1, 2)
    theirs = torch.nn.functional.interpolate(grid, size=new, mode="bicubic", align_corners=False)
    ours = positions.resized(table, old, new, leading)
    np.testing.assert_allclose(ours[leading:], theirs[0].permute(1, 2, 0).reshape(-1, 5), atol=2e-6)
    np.testing.assert_array_equal(ours[:leading], table[:leading])


def test_a_table_for_its_own_grid_is_unchanged_bit_for_bit():
    table = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    assert positions.resized(table, (2, 3), (2, 3), leading=1) is table


def test_invalid_tables_are_named():
    with pytest.raises(UserError, match="width divisible by 4; got 6"):
        positions.sine_cosine(2, 2, 6)
    with pytest.raises(UserError, match=r"grid of 2 x 2 with 1 leading rows has 5 rows; got 4. Set `grid`"):
        positions.resized(np.zeros((4, 3), np.float32), (2, 2), (3, 3), leading=1)
