import pytest

from aeseg.data.inspection.splitting import chosen_groups


@pytest.mark.parametrize(
    ("names", "alike", "count", "says"),
    [
        ([f"x{index}z" for index in range(10)], [("x1z", "x7z")], 9, "and look-alikes, stay together"),
        ([f"s{s}_{f}" for s in range(12) for f in range(3)], [("s0_0", "s1_2")], 11, "and look-alikes, stay together"),
        (
            [f"s{s}_{f}" for s in range(12) for f in range(3)],
            [(f"s{s}_0", f"s{s + 1}_0") for s in range(11)],
            25,
            "too large as groups with them",
        ),
        ([f"x{index}z" for index in range(10)], [(f"x{index}z", "x0z") for index in range(9)], 10, "Warning: most images look alike"),
        (["a", "b"], [], 2, "one by one"),
    ],
)
def test_the_first_kind_of_group_that_is_small_enough_is_used(names, alike, count, says):
    group, said = chosen_groups(names, alike)
    assert (len(set(group)), len(group)) == (count, len(names))
    assert says in said
