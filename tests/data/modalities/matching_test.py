import pytest

from aeseg.data.modalities import matching
from aeseg.types import UserError
from tests.data.modalities import cases


def placed(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")


def of_folder(root, complete=True, stems=cases.STEMS):
    return matching.of_folder(str(root), "t", "aligned", (".png", ".tif"), stems, complete)


def test_files_belong_to_the_images_of_their_names_whatever_their_ending(tmp_path):
    placed(tmp_path, "t/a.tif", "t/b.png", "t/sub/c.png")
    found = of_folder(tmp_path)
    assert found == matching.Matches({"a": "t/a.tif", "b": "t/b.png", "sub/c": "t/sub/c.png"}, "t/a.tif", ())


def test_what_has_no_partner_is_noted(tmp_path):
    placed(tmp_path, "t/a.png", "t/z.png")
    found = of_folder(tmp_path)
    assert found.of == {"a": "t/a.png"}
    assert found.notes == (
        f"2 of 3 images have no entry in {tmp_path}/t, and count as missing it: b, sub/c",
        f"1 of 2 entries in {tmp_path}/t have no image: z",
    )
    assert len(of_folder(tmp_path, complete=False).notes) == 1, "a list may leave images out"


def test_affixes_that_all_names_share_are_left_out(tmp_path):
    placed(tmp_path, "t/1_heat.png", "t/2_heat.png")
    found = of_folder(tmp_path, stems={"1_rgb": ("1_rgb",), "2_rgb": ("2_rgb",)})
    assert found.of == {"1_rgb": "t/1_heat.png", "2_rgb": "t/2_heat.png"}
    assert found.notes == (f"names in {tmp_path}/t are matched as {{stem}}_rgb and {{stem}}_heat",)


def test_a_second_name_of_an_image_counts_where_the_first_has_no_file(tmp_path):
    placed(tmp_path, "t/a.png")
    assert of_folder(tmp_path, stems={"train/a": ("train/a", "a")}).of == {"train/a": "t/a.png"}


def test_names_in_a_table_may_have_endings_and_texts_of_one_image_are_joined():
    stems = {"a": ("a",), "b.c": ("b.c",), "d": ("d",)}
    found = matching.of_table([("a.png", "one"), ("b.c", "two"), ("a.png", "three"), ("z", "lone")], "x.csv", "captions", stems, True)
    assert found.of == {"a": "one\nthree", "b.c": "two"}
    assert found.notes == ("1 of 3 images have no entry in x.csv, and count as missing it: d", "1 of 3 entries in x.csv have no image: z")


def test_what_does_not_match_is_said(tmp_path):
    with pytest.raises(UserError, match=r"There is no folder .*/t \(aligned='t'\)"):
        of_folder(tmp_path)
    placed(tmp_path, "t/a.jpg")
    with pytest.raises(UserError, match=r"No file in .*/t \(aligned\) ends in .png, .tif \(files passed over: 1 of .jpg\)"):
        of_folder(tmp_path)
    placed(tmp_path, "t/x.png")
    with pytest.raises(UserError, match=r"None of the 3 images has an entry in .*/t \(aligned\): images are called a, b, sub/c, entries x"):
        of_folder(tmp_path)
    placed(tmp_path, "t/x.tif")
    with pytest.raises(UserError, match=r"Two files in .*/t have one name: t/x.png and t/x.tif"):
        of_folder(tmp_path)
