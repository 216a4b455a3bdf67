"""experiments/search/space.py: product, zip, chain and ranges, from a line of text or from Python."""

import math

import numpy as np
import pytest

from aeseg.types import UserError
from experiments.search import space
from experiments.search.samplers import _Drawn


def test_spaces_between_fields_are_a_product():
    assert space.points(space.parsed("a=1,2 b=3,4")) == [
        {"a": "1", "b": "3"},
        {"a": "1", "b": "4"},
        {"a": "2", "b": "3"},
        {"a": "2", "b": "4"},
    ]


def test_an_ampersand_zips_before_products_and_a_bar_chains_last():
    assert space.points(space.parsed("a=1,2 & b=3,4 c=5|a=6")) == [
        {"a": "1", "b": "3", "c": "5"},
        {"a": "2", "b": "4", "c": "5"},
        {"a": "6"},
    ]


def test_commas_in_brackets_and_quotes_belong_to_the_value():
    assert space.parsed("""window=(64, 64),(96,96) names='a,b',"c d" """) == space.product(
        space.values("window", "(64, 64)", "(96,96)"), space.values("names", "a,b", "c d")
    )


def test_ranges_are_written_as_calls():
    assert space.parsed("a=log(1e-4,1e-2) b=uniform(2,8)") == space.product(space.log_uniform("a", 1e-4, 1e-2), space.uniform("b", 2, 8))


def test_in_python_parts_nest_freely():
    both = space.product(space.values("a", 1, 2), space.values("b", 3, 4))
    assert space.points(space.zipped(both, space.values("c", 5, 6, 7, 8)))[1] == {"a": 1, "b": 4, "c": 6}
    chained = space.chain(both, space.values("a", 9))
    assert len(space.points(chained)) == 5
    assert space.fields(chained) == ["a", "b"]
    assert space.points(space.product(space.chain(space.values("a", 1), space.values("b", 2)), space.values("c", 3, 4))) == [
        {"a": 1, "c": 3},
        {"a": 1, "c": 4},
        {"b": 2, "c": 3},
        {"b": 2, "c": 4},
    ]


def test_a_draw_respects_bounds_and_zips():
    whole = space.chain(space.parsed("a=log(1e-4,1e-2) b=1,2 & c=3,4"), space.uniform("d", 1, 3))
    drawn = [space.draw(whole, _Drawn(np.random.default_rng(seed))) for seed in range(200)]
    first, second = [each for each in drawn if "a" in each], [each for each in drawn if "d" in each]
    assert len(first) + len(second) == 200
    assert abs(len(first) - 100) < 30
    assert all(1e-4 <= each["a"] <= 1e-2 for each in first)
    assert abs(np.mean([math.log10(each["a"]) for each in first]) + 3) < 0.2
    assert {(each["b"], each["c"]) for each in first} == {("1", "3"), ("2", "4")}
    assert {each["d"] for each in second} == {1, 2, 3}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Expected a space of trials; got none"),
        ("a=", "Expected values of a; got an empty value"),
        ("a = 1", "without spaces around ="),
        ("a=1 |", "on both sides of each `&` and `|`"),
        ("a=1 & | b=2", "on both sides of each `&` and `|`"),
        ("a=1,2 & b=3", "A zip joins equally many values, first with first; a has 2, b has 1"),
        ("a=1,2 & b=log(1,2)", "b is a range"),
        ("a=1 a=2", "a is set twice"),
        ("a=log(0,1)", "above 0; got 0 and 1"),
        ("a=uniform(2,1)", "a lower and an upper bound of a; got 2 and 1"),
        ("a=normal(0,1)", r"Expected log\(low,high\) or uniform\(low,high\) with two numbers; got 'a=normal\(0,1\)'"),
        ("a=(1,2", r"Expected a closing \)"),
    ],
)
def test_an_invalid_space_is_refused(text, says):
    with pytest.raises(UserError, match=says):
        space.parsed(text)


@pytest.mark.parametrize("rule", ["product", "zip", "chain"])
def test_an_empty_list_of_parts_is_refused(rule):
    with pytest.raises(UserError, match=f"Expected the parts of a {rule}; got none"):
        {"product": space.product, "zip": space.zipped, "chain": space.chain}[rule]()
