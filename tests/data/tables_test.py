import pytest

from aeseg.data import tables
from aeseg.data.classes import table
from aeseg.types import IGNORE, UserError

PLANT = [(0, "background"), (1, "leaf"), (2, "stem")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.json", '\ufeff[{"id": 0, "name": "background"}, {"id": 1, "name": "leaf"}, {"id": 2, "name": "stem"}]'),
        ("t.json", '[{"id": "0", "name": "background"}, {"id": "1", "name": "leaf", "supercategory": "x"}, {"id": "2", "name": "stem"}]'),
        ("t.json", '{"id2label": {"0": "background", "1": "leaf", "2": "stem"}}'),
        ("t.json", '{"0": "background", "1": "leaf", "2": "stem"}'),
        ("t.json", '{"background": 0, "leaf": 1, "stem": 2}'),
        ("t.json", '{"labels": {"background": 0, "leaf": 1, "stem": 2}, "channel_names": {"0": "R"}}'),
        ("t.json", '{"labels": {"0": "background", "1": "leaf", "2": "stem"}}'),
        ("t.json", '["background", "leaf", "stem"]'),
        ("t.yaml", "path: .\nnames: [background, leaf, stem]\n"),
        ("t.yml", "names:\n  0: background\n  1: leaf\n  2: stem\n"),
        ("t.csv", "name,r,g,b\nbackground,0,0,0\nleaf,0,200,0\nstem,150,75,0\n"),
        ("t.csv", "id;name\n0;background\n1;leaf\n2;stem\n"),
        ("t.csv", "0,background\n1,leaf\n2,stem\n"),
        ("t.txt", "background\r\nleaf\r\nstem\r\n"),
        ("t.txt", "0: background\n1: leaf\n2: stem"),
    ],
)
def test_common_formats_of_tables_are_read(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert [(entry["id"], entry["name"]) for entry in tables.read(tmp_path / name)] == PLANT
    assert [item.name for item in table(name, root=str(tmp_path)).classes] == ["background", "leaf", "stem"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_table_of_another_encoding_is_read(tmp_path, encoding):
    (tmp_path / "t.txt").write_text("Käfer\nBlatt\n", encoding=encoding)
    assert [item.name for item in table("t.txt", root=str(tmp_path)).classes] == ["Käfer", "Blatt"]


def test_colours_are_triples_or_hexadecimal_of_3_or_6_digits(tmp_path):
    (tmp_path / "t.json").write_text('[{"id": 0, "name": "a", "colour": "#0c8"}, {"id": 1, "name": "b", "color": "00cc88"}]')
    assert table("t.json", root=str(tmp_path)).shared == ("b",)
    (tmp_path / "t.csv").write_text("name,r,g,b\na,0,200,0\n")
    assert table("t.csv", root=str(tmp_path)).colours == {(0, 200, 0): 0}
    assert table("a #0c8, b #ffffff").colours == {(0, 204, 136): 0, (255, 255, 255): 1}


def test_explicit_and_ignored_ids_are_read(tmp_path):
    found = table("7: road, 11: sidewalk #f423e8")
    assert (found.ids, found.numbered) == ({7: 0, 11: 1, 255: IGNORE}, True)
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "leaf": 1, "ignore": 2}}')
    found = table("dataset.json", root=str(tmp_path))
    assert [item.name for item in found.classes] == ["background", "leaf"]
    assert found.ids[2] == IGNORE
    with pytest.raises(UserError, match="ids of a class table are different numbers; got 1, 1"):
        table("1: a, 1: b")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("t.json", '{"whole": [1, 2, 300]}', r"a colour is \[red, green, blue\]"),
        ("t.json", '{"a": {"b": 1}}', "expected id and name, name and id, or name and colour; got a:"),
        ("t.csv", "name,r,g,b\na,1,2\n", "line 'a,1,2' does not fit"),
        ("t.yaml", "names: !!python/object/apply:os.system ['true']", "is not YAML"),
        ("t.txt", "", "should hold a list of classes"),
        ("t.json", "[" * 100_000, "is not JSON"),
    ],
)
def test_an_unreadable_table_is_refused_with_the_reason(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        tables.read(tmp_path / name)
