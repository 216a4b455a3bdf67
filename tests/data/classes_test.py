import json

import numpy as np
import pytest

from aeseg.data.classes import default_colour, from_colours, from_ids, lookup, table
from aeseg.types import IGNORE, Class, UserError

NO_IDS = lookup({})


def test_names_with_colours_survive_the_description():
    found = table("sky #808080, traffic light #010203, road")
    assert found.classes == (Class("sky", (128, 128, 128)), Class("traffic light", (1, 2, 3)), Class("road", default_colour(2)))
    assert found.colours == {(128, 128, 128): 0, (1, 2, 3): 1}
    assert table(("sky #808080", "road")).classes[1].name == "road"


def test_a_number_makes_that_many_classes_in_the_colours_of_voc():
    found = table("3")
    assert [item.colour for item in found.classes] == [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
    assert found.colours == {}
    assert len({default_colour(index) for index in range(256)}) == 256


def test_a_json_table_moves_ids_joins_names_and_ignores(tmp_path):
    entries = [
        {"id": 300, "name": "car", "colour": [3, 3, 3]},
        {"id": 7, "name": "road", "color": [1, 1, 1]},
        {"id": 255, "name": "car", "colour": [2, 2, 2]},
        {"id": 9, "ignore": True, "colour": [9, 9, 9]},
    ]
    (tmp_path / "classes.json").write_text(json.dumps(entries))
    found = table("classes.json", root=str(tmp_path))
    assert found.classes == (Class("road", (1, 1, 1)), Class("car", (2, 2, 2)))
    assert found.ids == {7: 0, 9: IGNORE, 255: 1, 300: 1}
    assert found.colours == {(1, 1, 1): 0, (9, 9, 9): IGNORE, (2, 2, 2): 1, (3, 3, 3): 1}
    label = np.array([[7, 9], [255, 300]], np.uint16)
    np.testing.assert_array_equal(from_ids(label, lookup(found.ids), "x"), [[0, IGNORE], [1, 1]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_an_id_without_a_class_is_named_with_its_file_and_position(dtype):
    label = np.zeros((4, 4), dtype)
    label[1, 3], label[2, 2] = 13, 255
    with pytest.raises(UserError, match=r"a.png holds the label 13 at x=3, y=1; allowed are 0..2, 11, 255. .*ignore_ids"):
        from_ids(label, lookup(table("a,b,c", (11,)).ids), "a.png")


@pytest.mark.parametrize("value", [-1, 70000])
def test_ids_outside_16_bits_are_refused(value):
    with pytest.raises(UserError, match=f"holds the label {value} at x=0, y=0"):
        from_ids(np.full((2, 2), value, np.int32), lookup(table("2").ids), "a.tif")


def test_colours_become_classes_and_an_unknown_one_is_named():
    label = np.array([[(0, 0, 1), (1, 0, 0)], [(1, 0, 0), (0, 0, 1)]], np.uint8)
    colours = {(1, 0, 0): 0, (0, 0, 1): IGNORE}
    np.testing.assert_array_equal(from_colours(label, colours, NO_IDS, "a.png"), [[IGNORE, 0], [0, IGNORE]])
    label[1, 0] = (7, 8, 9)
    with pytest.raises(UserError, match=r"a.png holds the colour \(7, 8, 9\) at x=0, y=1, and 0 others"):
        from_colours(label, colours, NO_IDS, "a.png")
    with pytest.raises(UserError, match=r"a.png is colour-coded, and the class table has no colours"):
        from_colours(label, {}, NO_IDS, "a.png")


def test_grey_labels_in_rgb_are_ids_only_if_the_table_has_no_colours():
    label = np.zeros((2, 2, 3), np.uint8)  # all void in a colour-coded set; all class 0 in a set of ids
    np.testing.assert_array_equal(from_colours(label, {(0, 0, 0): IGNORE}, lookup({0: 0}), "a.png"), np.full((2, 2), IGNORE))
    np.testing.assert_array_equal(from_colours(label, {}, lookup({0: 0}), "a.png"), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "is not JSON"),
        ("{}", "should hold a list"),
        ('[{"id": 0}]', r'a class has id, name and, if wanted, colour and ignore; got \{"id": 0\}'),
        ('[{"id": 0, "name": "a", "weight": 1}]', "a class has id"),
        ('[{"id": 0, "name": "a"}, {"id": 0, "name": "b"}]', "ids are different numbers"),
        ('[{"id": 0, "name": "a", "colour": [1, 2]}]', r"a colour is \[red, green, blue\]"),
        ('[{"id": 0, "name": "a", "ignore": true}]', "1 to 255 classes; .* gives 0"),
    ],
)
def test_a_bad_table_is_refused_with_the_reason(tmp_path, text, says):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(UserError, match=says):
        table("t.json", root=str(tmp_path))


def test_a_missing_table_is_named():
    with pytest.raises(UserError, match=r"Cannot read the class table .*absent.json: No such file"):
        table("absent.json")
