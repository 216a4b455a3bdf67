import pytest

from aeseg.data.names import affixes, matches
from aeseg.types import UserError


@pytest.mark.parametrize(
    ("images", "labels", "expected"),
    [
        (["a_leftImg8bit", "b_leftImg8bit"], ["a_gtFine_labelIds", "b_gtFine_labelIds"], ("{stem}_leftImg8bit", "{stem}_gtFine_labelIds")),
        (["1", "2"], ["1_mask", "2_mask"], ("{stem}", "{stem}_mask")),
        (["1", "2", "3"], ["1_mask", "2_mask"], ("{stem}", "{stem}_mask")),
        (["img_01", "img_02"], ["mask_01", "mask_02"], ("img_{stem}", "mask_{stem}")),
        (["img_01_rgb", "img_02_rgb"], ["mask_01_gt", "mask_02_gt"], ("img_{stem}_rgb", "mask_{stem}_gt")),
        (["img_001", "img_002"], ["mask_101", "mask_102"], ("", "")),
        (["a", "b"], ["c_mask", "d_mask"], ("", "")),
        (["a", "b"], [], ("", "")),
    ],
)
def test_names_that_differ_by_a_common_part_are_matched(images, labels, expected):
    assert affixes(images, labels) == expected


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("{stem}_mask", "labels/sub/a_1_mask.png", ("sub/a_1", "")),
        ("{stem}_mask.png", "labels/a_mask.tif", None),
        ("{stem}_{class}", "labels/a_b_dry_leaf.png", ("a_b", "dry_leaf")),
        ("{class}/{stem}", "labels/leaf/a.png", ("a", "leaf")),
        ("{stem}_{channel}", "labels/case_07_0001.png", ("case_07", "0001")),
        ("{stem}/masks/*", "labels/x1/masks/7.png", ("x1", "")),
        ("{stem}/images/{stem}", "labels/x1/images/x1.png", ("x1", "")),
        ("{stem}/images/{stem}", "labels/x1/images/x2.png", None),
        ("a.b({stem})", "labels/a.b(c).png", ("c", "")),
    ],
)
def test_a_template_names_stem_class_and_channel(template, path, expected):
    found = [part[:2] for part in matches(template, [path], "labels", ("leaf", "dry leaf"))]
    assert found == ([expected] if expected else [])


@pytest.mark.parametrize("template", ["mask", "{name}_mask"])
def test_a_template_without_stem_or_with_other_fields_is_refused(template):
    with pytest.raises(UserError, match=r"template of names"):
        matches(template, [], ".")
