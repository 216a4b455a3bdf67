import numpy as np
import pytest

from aeseg.data.groups import SPLITS, groups, split
from aeseg.types import UserError

SHARES = (0.7, 0.15, 0.15)


def splits(names, seed=0, group_by="auto", shares=SHARES):
    return [split(names, which, shares, seed, group_by) for which in SPLITS]


@pytest.mark.parametrize("number", [3, 8, 100, 1000])
def test_splits_are_disjoint_and_complete_and_have_the_requested_sizes(number):
    names = [f"{index * 7919 % 100003:x}z" for index in range(number)]
    found = splits(names)
    assert sorted(index for part in found for index in part) == list(range(number))
    assert all(found)
    np.testing.assert_allclose([len(part) for part in found], np.array(SHARES) * number, atol=max(1.5, number / 100))
    assert splits(names) == found
    assert number < 8 or splits(names, seed=1) != found


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([f"seq{s}/frame{f}" for s in range(12) for f in range(5)], 12),  # folders
        ([f"seq{s}_{f:04d}" for s in range(12) for f in range(5)], 12),  # prefixes
        ([f"{f:03d}" for f in range(320)], 40),  # one numbered sequence: blocks of 8
        ([f"im{f:02d}" for f in range(8)], 8),
        (["leaf", "stem", "root"], 3),
    ],
)
def test_groups_follow_the_names(names, expected):
    found = groups(names)
    assert len(set(found)) == expected
    members = splits(names)
    for group in set(found):
        assert sum(any(found[index] == group for index in part) for part in members) == 1, "a group is in two splits"


def test_neighbours_of_a_sequence_stay_together():
    found = groups([f"frame_{index}" for index in range(100)], "blocks")  # 10 comes after 9, not after 1
    assert [found.index(group) for group in dict.fromkeys(found)] == list(range(0, 100, 2))


def test_a_template_names_the_group():
    assert groups(["p1_left", "p1_right", "p2_left"], "{group}_*") == ["p1", "p1", "p2"]
    with pytest.raises(UserError, match=r"1 names do not fit group_by='\{group\}_\*', such as 'x'"):
        groups(["p1_a", "x"], "{group}_*")
    with pytest.raises(UserError, match="group_by is auto, none"):
        groups(["a"], "patient")


def test_too_few_images_give_a_message_and_still_pretrain():
    with pytest.raises(UserError, match=r"1 images or groups cannot make 3 splits. .* at least 3 labelled images.* pretrain"):
        splits(["a"])
    assert [split(["a", "b"], which, SHARES, 0, labelled=False) for which in SPLITS] == [[0, 1]] * 3
    assert [len(part) for part in splits(["a", "b"], shares=(0.5, 0.5, 0))] == [1, 1, 0]


def test_impossible_splits_are_refused():
    with pytest.raises(UserError, match="three shares"):
        splits(["a", "b", "c"], shares=(1, 0))
    with pytest.raises(UserError, match="got 'dev'"):
        split(["a"], "dev", SHARES, 0)
