import numpy as np
from PIL import Image

from aeseg.inference import draw
from aeseg.types import IGNORE, Class

CLASSES = (Class("ground", (0, 0, 0)), Class("car", (200, 0, 10)))
LABEL = np.array([[0, 1, 1], [IGNORE, 0, 1]])


def test_a_label_file_contains_the_ids_and_shows_the_colours(tmp_path):
    draw.write_label(tmp_path / "new" / "a.png", LABEL, CLASSES)
    with Image.open(tmp_path / "new" / "a.png") as read:
        assert read.mode == "P"
        np.testing.assert_array_equal(np.asarray(read), LABEL)
        np.testing.assert_array_equal(
            np.asarray(read.convert("RGB")),
            [[(0, 0, 0), (200, 0, 10), (200, 0, 10)], [draw.IGNORED, (0, 0, 0), (200, 0, 10)]],
        )


def test_every_id_keeps_its_colour_in_a_label_file(tmp_path):
    ids = np.arange(256).reshape(16, 16)
    draw.write_label(tmp_path / "all.png", ids, CLASSES)
    with Image.open(tmp_path / "all.png") as read:
        np.testing.assert_array_equal(np.asarray(read), ids)
        np.testing.assert_array_equal(np.asarray(read.convert("RGB")), draw.palette(CLASSES)[ids])


def test_classes_without_a_colour_get_distinct_ones():
    assert len(np.unique(draw.palette(())[:64], axis=0)) == 64


def test_ignored_pixels_differ_from_every_class():
    coloured = draw.colour_label(np.full((9, 9), IGNORE), CLASSES)
    assert len(np.unique(coloured.reshape(-1, 3), axis=0)) == 2
    np.testing.assert_array_equal(draw.colour_label(LABEL, CLASSES)[0, 1], (200, 0, 10))


def test_an_uncertainty_is_black_where_certain_samples_are_spread_over_all_classes_and_white_where_they_agree():
    every = np.eye(4).var(axis=0).mean()
    found = draw.uncertainty_map(np.array([[0, every / 4, every]]), classes=4)
    np.testing.assert_allclose(found, [[1, 0.5, 0]])


def test_an_overlay_mixes_by_alpha_and_keeps_ignored_pixels_unchanged():
    image = np.full((3, 3, 3), 100, np.uint8)
    label = np.ones((3, 3), np.int32)
    np.testing.assert_array_equal(draw.overlay(image, label, CLASSES, alpha=0.5)[1, 1], (150, 50, 55))
    np.testing.assert_array_equal(draw.overlay(image, np.full((3, 3), IGNORE), CLASSES), image)


def test_an_error_map_is_red_only_where_label_and_prediction_differ():
    errors = draw.error_map(LABEL, np.array([[0, 0, 1], [1, 0, 0]]))
    wrong = (errors == draw.WRONG).all(-1)
    np.testing.assert_array_equal(wrong, [[False, True, False], [False, False, True]])


def test_floats_bytes_and_grey_give_the_same_picture():
    bytes_ = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    np.testing.assert_array_equal(draw.as_rgb(bytes_ / np.float32(255)), draw.as_rgb(bytes_))
    np.testing.assert_array_equal(draw.as_rgb(bytes_[..., 0]), np.repeat(bytes_, 3, axis=-1))
    np.testing.assert_array_equal(draw.as_rgb(np.array([[np.nan, -1.0, 2.0]]))[0, :, 0], [0, 0, 255])


def test_a_panel_shows_each_pixel_of_a_small_image_as_a_square(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    label = np.stack([np.eye(8, dtype=np.int32)] * 2)
    picture = draw.panel({"image": image, "label": label}, tmp_path / "p.png", CLASSES, names=("a", "b"), title="Two")
    factor = draw.SMALLEST // 8
    cells = [np.repeat(np.repeat(one, factor, 0), factor, 1) for one in image]
    top = draw.MARGIN + 44 + 32 + 24
    for row, cell in enumerate(cells):
        y = top + row * (draw.SMALLEST + 24 + draw.GAP)
        np.testing.assert_array_equal(picture[y : y + draw.SMALLEST, draw.MARGIN : draw.MARGIN + draw.SMALLEST], cell)
    assert picture.shape[1] == 2 * draw.MARGIN + 2 * draw.SMALLEST + draw.GAP
    with Image.open(tmp_path / "p.png") as read:
        np.testing.assert_array_equal(np.asarray(read), picture)


def test_a_panel_of_large_images_fits_a_screen():
    image = np.zeros((1, 300, 900, 3), np.float32)
    picture = draw.panel(dict.fromkeys("abcdef", image))
    assert picture.shape[1] <= draw.WIDTH + 2 * draw.MARGIN


def test_the_legend_names_classes_ignored_pixels_and_errors():
    entries = draw._legend(CLASSES, [LABEL], errors=True)
    assert [name for name, _ in entries] == ["ground", "car", "wrong", "ignored"]
    many = tuple(Class(str(index), (index, 0, 0)) for index in range(150))
    assert [name for name, _ in draw._legend(many, [LABEL], errors=False)] == ["0", "1", "ignored"]


def test_a_panel_of_errors_adds_a_column():
    columns = {"label": LABEL[None], "prediction": LABEL[None] * 0}
    plain, errors = draw.panel(columns, classes=CLASSES), draw.panel(columns, classes=CLASSES, errors=("label", "prediction"))
    assert errors.shape[1] > plain.shape[1]
    assert (errors == draw.WRONG).all(-1).any()


def test_a_panel_without_images_is_empty():
    assert draw.panel({}).shape[2] == 3
