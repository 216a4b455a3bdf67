"""aeseg/tree.py: trees by path."""

import numpy as np

from aeseg import tree


def test_paths_are_joined_by_slashes():
    params = {"encoder": {"level0": {"bias": np.zeros(3)}}, "head": np.ones((2, 2))}
    assert list(tree.flatten(params)) == ["encoder/level0/bias", "head"]
    assert tree.flatten({}) == {}
    assert tree.count(params) == 7


def test_a_star_crosses_slashes():
    assert tree.matches("encoder/level0/bias", ("encoder/*",))
    assert not tree.matches("decoder/encoder/bias", ("encoder/*",))
    assert not tree.matches("encoder/bias", ())


def test_the_function_gets_the_name():
    assert tree.map_with_name(lambda name, leaf, other: (name, leaf + other), {"a": 1}, {"a": 2}) == {"a": ("a", 3)}
