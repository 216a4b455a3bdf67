"""Invalid records are refused wherever records are read: in the loader, in scoring, and in counting labels."""

import re

import numpy as np
import pytest

from aeseg.data.checks import count
from aeseg.data.loader import Loader, evaluation_batches
from aeseg.data.records import check
from aeseg.inference.evaluate import records
from aeseg.types import IGNORE, UserError

IMAGE = np.zeros((2, 3, 3), np.uint8)


def test_a_valid_record_passes_unchanged():
    for label in ({}, {"label": np.full((2, 3), IGNORE, np.uint8)}, {"label": np.zeros((2, 3), np.uint8)}):
        record = {"image": IMAGE, "name": "r", **label}
        assert check(record) is record


@pytest.mark.parametrize(
    ("label", "came"),
    [
        (np.array([[-1, 0, 2]] * 2, np.int16), "int16 (2, 3) with values from -1 to 2"),
        (np.zeros((2, 3), np.float32), "float32 (2, 3) with values from 0.0 to 0.0"),
        (np.zeros((2, 3, 1), np.uint8), "uint8 (2, 3, 1) with values from 0 to 0"),
        (np.zeros((2, 3), bool), "bool (2, 3)"),
        ([[0, 0, 0]] * 2, "list"),
        (None, "NoneType"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_label_that_is_not_uint8_is_named(label, came):
    expected = f"The label of record r should be uint8 [h w], with 255 for what is ignored; got {came}. Map it in the source."
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        check({"image": IMAGE, "label": label, "name": "r"})


@pytest.mark.parametrize(
    "read",
    [
        lambda source: Loader(source, (), 1)[0],
        lambda source: next(evaluation_batches(source, (), 1)),
        lambda source: next(records(source, (), threads=1)),
        lambda source: count(source, 1),
    ],
    ids=["training", "batches of an evaluation", "whole images", "counts of labels"],
)
def test_records_are_checked_wherever_they_are_read(read):
    """Before, a label of -1 was ignored by some scores but not by others."""
    with pytest.raises(UserError, match=r"The label of record r should be uint8 \[h w\], .* got int16 \(2, 3\) with values from -1 to -1"):
        read([{"image": IMAGE, "label": np.full((2, 3), -1, np.int16), "name": "r"}])


def test_captions_and_sounds_may_have_other_sizes_than_the_image():
    image = np.zeros((4, 5, 3), np.uint8)
    beside = {"caption": np.zeros(7, np.uint8), "sound": np.zeros((16, 2), np.float32), "has_depth": np.array(True)}
    assert check({"image": image, "name": "a", **beside})
