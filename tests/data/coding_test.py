import numpy as np
import pytest

from aeseg.data.classes import table
from aeseg.data.coding import classes_of, decide, findings
from aeseg.data.decode import Stored
from aeseg.types import IGNORE, UserError

COLOURED = "background #000000, leaf #00c800, stem #964b00"
GREY = "background #000000, foreground #ffffff"


def grey(*values, lossy=False):
    return Stored(np.array([values]), lossy=lossy)


def read(stored, classes, ignore_ids=(), coding="auto", snap=0.0):
    """Return the class ids of a label file that is the complete data set."""
    decided = decide(findings([("a.png", stored)]), table(classes, ignore_ids), coding, snap)
    return classes_of(stored, decided, "a.png", snap).ravel().tolist(), decided.notes


@pytest.mark.parametrize(
    ("values", "classes", "expected"),
    [
        ((0, 255), GREY, [0, 1]),
        ((0, 255), "background, leaf", [0, 1]),
        ((0, 1), GREY, [0, 1]),
        ((0, 1, 255), GREY, [0, 1, IGNORE]),
        ((0, 1, 2, 255), "3", [0, 1, 2, IGNORE]),
        ((0, 2), "3", [0, 2]),
        ((0, 128, 255), "a #000000, b #808080, c #ffffff", [0, 1, 2]),
        ((255, 0), "paper #ffffff, ink #000000", [0, 1]),
        ((1, 2, 3), "a, b, c", [0, 1, 2]),
        ((1, 2, 3, 255), "a, b, c", [0, 1, 2, IGNORE]),
        ((1, 2, 3), "background, a, b, c", [1, 2, 3]),
        ((7, 11), "7: road, 11: sidewalk", [0, 1]),
        ((255, 255), "3", [IGNORE, IGNORE]),
    ],
)
def test_the_only_fitting_reading_of_grey_values_is_used(values, classes, expected):
    assert read(grey(*values), classes)[0] == expected


def test_the_guessed_reading_is_printed():
    assert read(grey(0, 255), GREY)[1] == ("labels are masks: 255 is foreground",)
    assert read(grey(1, 2), "a, b")[1] == ("ids start at 1: 1 is a",)
    assert read(grey(0, 1), "a, b")[1] == ()


@pytest.mark.parametrize(
    ("stored", "classes", "says"),
    [
        (grey(0, 255), "3", r"values 0, 255, and class_table has 3 classes: 255 may be ignored .* coding='ids' .* coding='mask'"),
        (grey(0, 255), "a #000000, b #808080, c #ffffff", r"coding='ids' .* coding='mask', or coding='colours'"),
        (grey(255, 255), GREY, "255 may be ignored or be a class"),
        (grey(0, 255), "leaf", "class_table has 1 classes: 255 may be ignored"),
        (grey(0, 200), GREY, r"values 0, 200; a mask holds 0 and 1, or 0 and 255. Set binary_threshold=200"),
        (grey(0, 1, 2, lossy=True), "3", r"a.png is a label compressed with loss .* or set snap .* or binary_threshold=128"),
        (Stored(np.arange(0, 256, 5)[None]), GREY, r"hold 52 grey levels, .* Set binary_threshold=128 for a mask, or snap"),
        (grey(0, 1, 3), "3", "a.png holds the label 3 at x=2, y=0"),
        (Stored(np.arange(6).reshape(1, 2, 3), alpha=np.array([[0, 255]], np.uint8)), GREY, r"both vary. Set coding='alpha' .* or 'ids'"),
    ],
)  # fmt: skip
def test_two_fitting_readings_are_both_named(stored, classes, says):
    with pytest.raises(UserError, match=says):
        read(stored._replace(values=stored.values.astype(np.uint8)), classes)


@pytest.mark.parametrize(("coding", "expected"), [("ids", [0, IGNORE]), ("mask", [0, 1]), ("colours", [0, 1])])
def test_each_answer_selects_its_reading(coding, expected):
    assert read(grey(0, 255), GREY, coding=coding)[0] == expected


def test_255_is_not_void_before_it_is_known_to_be(tmp_path):
    decided = decide(findings([("a.png", grey(0))]), table(GREY))
    with pytest.raises(UserError, match=r"b.png holds the label 255"):
        classes_of(grey(0, 255), decided, "b.png")
    assert read(grey(0), GREY, ignore_ids=(255,))[0] == [0]


def test_ignored_ids_of_any_sign_are_ignored():
    assert read(grey(-1, 0, 1), "2", ignore_ids=(-1,))[0] == [IGNORE, 0, 1]
    assert read(grey(0, 1, 2), "void, a, b", ignore_ids=(0,))[0] == [IGNORE, 0, 1]
    assert read(grey(0, 255), GREY, ignore_ids=(255,))[0] == [0, IGNORE]


def palette(indices, colours):
    return Stored(np.array([indices], np.uint8), np.array(colours, np.uint8))


def test_colours_of_a_palette_are_used_if_the_table_has_colours():
    shuffled = palette([0, 1, 2], [(150, 75, 0), (0, 200, 0), (0, 0, 0)])
    assert read(shuffled, COLOURED)[0] == [2, 1, 0]
    assert read(shuffled, COLOURED, coding="ids")[0] == [0, 1, 2]
    assert read(shuffled, "3")[0] == [0, 1, 2]
    foreign = palette([0, 1, 2], [(0, 0, 0), (128, 0, 0), (0, 128, 0)])
    assert read(foreign, COLOURED)[0] == [0, 1, 2]


def test_palettes_that_differ_need_colours_or_an_answer():
    files = [("a.png", palette([0, 1], [(0, 0, 0), (9, 9, 9)])), ("b.png", palette([0, 1], [(9, 9, 9), (0, 0, 0)]))]
    with pytest.raises(UserError, match=r"index 0 is \(0, 0, 0\) in one file and \(9, 9, 9\) in b.png. .*coding='ids'"):
        decide(findings(files), table("2"))
    assert decide(findings(files), table("2"), "ids").palette is not None


def test_colours_and_grey_as_rgb():
    coloured = Stored(np.array([[(0, 0, 0), (150, 75, 0)]], np.uint8))
    assert read(coloured, COLOURED)[0] == [0, 2]
    levels = Stored(np.array([[(0, 0, 0), (1, 1, 1)]], np.uint8))
    assert read(levels, COLOURED)[0] == [0, 1]
    assert read(levels, "3")[0] == [0, 1]
    with pytest.raises(UserError, match="share a colour: b"):
        read(coloured, "a #000000, b #000000, c #964b00")
    assert read(grey(0, 1), "a #000000, b #000000")[0] == [0, 1]


def test_a_mask_in_the_alpha_channel_is_read():
    stored = Stored(np.zeros((1, 2, 3), np.uint8), alpha=np.array([[0, 255]], np.uint8))
    assert read(stored, "background, leaf") == ([0, 1], ("the mask is the alpha channel", "labels are masks: 255 is leaf"))
    with pytest.raises(UserError, match="The alpha channel hold the values 0, 255, and class_table has 3"):
        read(stored, "3")
    constant = Stored(np.array([[(0, 0, 0), (150, 75, 0)]], np.uint8), alpha=np.full((1, 2), 255, np.uint8))
    assert read(constant, COLOURED)[0] == [0, 2]
    decided = decide(findings([("a.png", constant)]), table(COLOURED))
    with pytest.raises(UserError, match=r"alpha channel of b.png varies; that of the sample did not"):
        classes_of(stored, decided, "b.png")


def test_snapped_pixels_take_the_nearest_class_up_to_the_share():
    stored = grey(0, 0, 0, 0, 0, 0, 0, 255, 250, 3)
    assert read(stored, GREY, snap=0.2)[0] == [0, 0, 0, 0, 0, 0, 0, 1, 1, 0]
    with pytest.raises(UserError, match=r"holds the label 250 .*\(20 % of the pixels\)"):
        read(stored, GREY, snap=0.1)
    coloured = Stored(np.array([[(0, 0, 0), (0, 0, 0), (149, 76, 2)]], np.uint8))
    assert read(coloured, COLOURED, snap=0.5)[0] == [0, 0, 2]
    with pytest.raises(UserError, match=r"33 % of the pixels"):
        read(coloured, COLOURED)


def test_an_invalid_coding_is_refused():
    with pytest.raises(UserError, match="coding is one of auto, ids, colours, mask, alpha; got 'rgb'"):
        read(grey(0), "2", coding="rgb")
    with pytest.raises(UserError, match="coding='mask' needs 2 classes"):
        read(grey(0), "3", coding="mask")
    with pytest.raises(UserError, match="coding='colours' needs a class table with colours"):
        read(grey(0), "3", coding="colours")
