import pytest

from aeseg.data import lists
from aeseg.types import UserError


@pytest.fixture
def root(tmp_path):
    for folder, ending in (("images", "png"), ("labels", "png")):
        (tmp_path / folder).mkdir()
        for name in ("a", "b", "my photo"):
            (tmp_path / folder / f"{name}.{ending}").touch()
    return tmp_path


PAIRS = (("images/a.png", "labels/a.png"), ("images/b.png", "labels/b.png"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("images/a.png labels/a.png\nimages/b.png\tlabels/b.png\n", PAIRS),
        ("image,label\nimages/a.png,labels/a.png\nimages/b.png,labels/b.png", PAIRS),
        ("images/a.png;labels/a.png\nimages/b.png;labels/b.png", PAIRS),
        ("images\\a.png labels\\a.png\r\nimages\\b.png labels\\b.png\r\n", PAIRS),
        ('"images/a.png" "labels/a.png"\n"images/b.png","labels/b.png"', PAIRS),
        ("/data/mine/images/a.png /data/mine/labels/a.png\n/data/mine/images/b.png /data/mine/labels/b.png", PAIRS),
        ("filename\na\nb", (("filename",), ("a",), ("b",))),
        ("filename\na.png\nb.png", (("a.png",), ("b.png",))),
        ("a\n# b\n\nmy photo\nimages/b.png labels/b.png", (("a",), ("my photo",), PAIRS[1])),
        ("images/my photo.png\tlabels/my photo.png", (("images/my photo.png", "labels/my photo.png"),)),
        ('"images/my photo.png","labels/my photo.png"', (("images/my photo.png", "labels/my photo.png"),)),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_common_formats_of_lists_are_read(root, text, expected, encoding):
    (root / "list.txt").write_bytes(text.encode(encoding))
    assert lists.read(str(root), "list.txt", "").rows == expected


def test_absolute_paths_below_the_root_are_shortened_and_another_root_is_reported(root):
    (root / "list.txt").write_text(f"{root}/images/a.png\n/data/mine/images/b.png\n")
    rows = lists.read(str(root), "list.txt", "")
    assert rows.rows == (("images/a.png",), ("images/b.png",))
    assert rows.notes == (f"/data/mine in {root}/list.txt stands for {root}",)


def test_a_repeated_record_is_used_once_and_reported(root):
    (root / "list.txt").write_text("a\nb\na\n")
    rows = lists.read(str(root), "list.txt", "")
    assert rows.rows == (("a",), ("b",))
    assert rows.notes == (f"1 lines of {root}/list.txt name a record again (a); each record is taken once",)


@pytest.mark.parametrize("path", ["../secret.png", "images/../../secret.png", "/etc/secret.png", "..\\secret.png"])
def test_a_path_that_leads_out_of_the_root_is_refused(root, path):
    (root / "list.txt").write_text(f"{path}\nimages/a.png\n")
    with pytest.raises(UserError, match=r"1 paths in the list .* lie outside .*secret.png. .*list_prefix"):
        lists.read(str(root), "list.txt", "")


def test_a_list_that_is_not_text_is_named(root):
    (root / "list.txt").write_bytes(b"\xff\x00\xfa\x80")
    with pytest.raises(UserError, match=r"list .*list.txt is not UTF-8 or UTF-16 text .* Set list_file to a text file"):
        lists.read(str(root), "list.txt", "")


@pytest.mark.parametrize("name", ["image,b", "a\nb", " a", "#a", '"a"', "a.png b.png", "a\tb"])
def test_names_that_do_not_fit_a_line_are_named(name):
    assert not lists.stands_for_itself(name)
    assert lists.stands_for_itself("sub/my photo 1")
