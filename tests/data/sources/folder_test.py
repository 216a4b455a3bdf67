import json
import os
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from aeseg import spec
from aeseg.data.loader import stacked
from aeseg.data.published import camvid, drive
from aeseg.data.sources.folder import Folder, recipe
from aeseg.data.transforms import HorizontalFlip, RandomCrop, RandomResizedCrop, RandomRotate, RandomScale, VerticalFlip
from aeseg.types import IGNORE, UserError
from tests.contract import check_source

RNG = np.random.default_rng(0)
DATA = Path(os.environ.get("AESEG_DATA", Path(__file__).parents[4] / "shared" / "data"))
WHERE = f"the real images are not in {DATA} (set AESEG_DATA)"


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def picture(h=6, w=8):
    return RNG.integers(0, 256, (h, w, 3), dtype=np.uint8)


def ids(h=6, w=8, classes=3):
    return RNG.integers(0, classes, (h, w), dtype=np.uint8)


@pytest.fixture
def tree(tmp_path):
    """Three images and their labels, one pair in a subfolder."""
    for name in ("b", "a", "sub/c"):
        write(tmp_path / f"images/{name}.png", picture())
        write(tmp_path / f"labels/{name}.png", ids())
    return tmp_path


def folder(root, **fields):
    return Folder(root=str(root), **{"class_table": "3", **fields})


@pytest.fixture
def senses(tree):
    """The tree with thermal images and captions of two, and the sound of one."""
    for name in ("a", "sub/c"):
        write(tree / f"thermal/{name}.png", picture())
        (tree / f"captions/{name}.txt").parent.mkdir(parents=True, exist_ok=True)
        (tree / f"captions/{name}.txt").write_text(f"image {name}")
    (tree / "audio").mkdir()
    wavfile.write(tree / "audio/b.wav", 16_000, np.full(80, 2**14, np.int16))
    return tree


SENSES = {"aligned": ("thermal",), "captions": "captions", "audio": "audio", "audio_seconds": 0.01}


def test_further_modalities_are_matched_as_labels_are_and_missing_ones_are_marked(senses):
    source = folder(senses, **SENSES)
    check_source(source)
    records = [source[index] for index in range(3)]
    assert [[bool(record[f"has_{key}"]) for key in ("thermal", "caption", "sound")] for record in records] == [
        [True, True, False],
        [False, False, True],
        [True, True, False],
    ]
    np.testing.assert_array_equal(records[2]["thermal"], np.asarray(Image.open(senses / "thermal/sub/c.png")))
    assert bytes(records[2]["caption"]).rstrip(b"\0") == b"image sub/c"
    assert records[1]["sound"][:80].tolist() == [[0.5]] * 80
    assert source.notes[-1] == f"2 of 3 images have no entry in {senses}/audio, and count as missing it: a, sub/c"
    alone = folder(senses, **SENSES, images_only=True)
    assert alone[0].keys() == records[0].keys() - {"label"}
    (senses / "list.txt").write_text("sub/c\na\n")
    listed = folder(senses, **{key: value for key, value in SENSES.items() if key != "audio"}, list_file="list.txt")
    assert [record["name"] for record in (listed[0], listed[1])] == ["sub/c", "a"]
    np.testing.assert_array_equal(listed[1]["thermal"], records[0]["thermal"])


def test_aligned_planes_go_through_every_transform_with_their_image(senses):
    """Where the planes are a copy of the label, they stay one: crops, flips, scales and rotations move both alike."""
    for name in ("a", "b", "sub/c"):
        write(senses / f"copy/{name}.png", np.asarray(Image.open(senses / f"labels/{name}.png")))
    source = folder(senses, aligned=("copy", "thermal"))
    changes = (RandomScale(1.2, 2.0), RandomCrop(5, 6), HorizontalFlip(), VerticalFlip(), RandomRotate(20.0), RandomResizedCrop(4, 4))
    for seed in range(20):
        record, rng = source[seed % 3], np.random.default_rng(seed)
        for change in changes:
            record = change(record, rng)
        assert record["thermal"].shape == (4, 4, 3)
        inside = record["label"] != IGNORE
        np.testing.assert_array_equal(record["copy"][inside], record["label"][inside])
        assert not record["copy"][~inside].any()
        assert record["has_thermal"] == (seed % 3 != 1)
    batch = stacked([source[0], source[1]])
    assert batch["has_thermal"].tolist() == [True, False]
    assert batch["thermal"].shape == (2, 6, 8, 3)


def test_folders_of_planes_hold_no_images_of_their_own(senses):
    source = Folder(root=str(senses), images=".", labels="labels", class_table="3", aligned=("thermal",), only_labelled=True)
    assert not [files.image for files in source.records if files.image.startswith("thermal")]


def test_the_contract_of_a_source(tree):
    check_source(folder(tree))


def test_folders_are_matched_by_name_in_order(tree):
    source = folder(tree)
    assert len(source) == 3
    assert [source[i]["name"] for i in range(3)] == ["a", "b", "sub/c"]
    for i in range(3):
        name = source[i]["name"]
        np.testing.assert_array_equal(source[i]["image"], np.asarray(Image.open(tree / f"images/{name}.png")))
        np.testing.assert_array_equal(source[i]["label"], np.asarray(Image.open(tree / f"labels/{name}.png")))
    assert source[np.int64(0)]["label"].dtype == np.uint8
    with pytest.raises(IndexError):
        source[3]


def test_images_alone_need_no_labels_and_have_no_classes(tree):
    source = Folder(root=str(tree), images=".", labels="")
    assert source.classes == ()
    assert len(source) == 6  # what lies in labels/ is images too, unless labels is named
    assert set(source[0]) == {"image", "name"}
    assert Folder(root=str(tree), images=".", labels="", channels=1)[0]["image"].shape == (6, 8, 1)


def test_images_and_labels_may_lie_in_one_folder_told_apart_by_a_suffix(tmp_path):
    write(tmp_path / "a.png", picture())
    write(tmp_path / "a_mask.png", ids())
    source = folder(tmp_path, images=".", labels=".", label_suffix="_mask")
    assert [record.name for record in source.records] == ["a"]
    assert source[0]["label"].max() < 3


def test_the_parts_of_a_folder_share_no_record_and_miss_none(tree):
    first, second = folder(tree, part=(0.0, 0.7)), folder(tree, part=(0.7, 1.0))
    assert [len(first), len(second)] == [2, 1]
    assert first.records + second.records == folder(tree).records
    with pytest.raises(UserError, match=r"part=\(0.0, 0.1\) of the 3 records in .*images holds none"):
        folder(tree, part=(0.0, 0.1))
    with pytest.raises(UserError, match="0 <= from < to <= 1"):
        folder(tree, part=(0.5, 0.5))


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_camvid_lists_are_read_as_they_are_published(tmp_path, ending):
    lines = []
    for name in ("z_2", "z_1"):
        write(tmp_path / f"train/{name}.{ending}", picture())
        label = ids(classes=12)
        label[0, :2] = 11, 10
        write(tmp_path / f"trainannot/{name}.png", label)
        lines.append(f"/SegNet/CamVid/train/{name}.{ending} /SegNet/CamVid/trainannot/{name}.png")
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n\n")
    source = spec.build(camvid("train", str(tmp_path)))
    assert [item.name for item in source.records] == ["train/z_2", "train/z_1"]  # the list's order
    assert source[0]["label"][0, :2].tolist() == [IGNORE, 10]
    assert len(source.classes) == 11
    assert source.classes[10] == ("bicyclist", (0, 128, 192))
    assert spec.build(spec.from_json(spec.to_json(camvid("train", str(tmp_path))))) == source


def test_drive_is_masks_inside_a_field_of_view_and_its_validation_is_never_the_test(tmp_path):
    truth = RNG.random((6, 8)) > 0.5
    inside = RNG.random((6, 8)) > 0.5
    for number in range(1, 41):
        write(tmp_path / f"images/{number:02d}.tif", picture())
        write(tmp_path / f"fov/{number:02d}.gif", (inside * 255).astype(np.uint8))
        write(tmp_path / f"labels/{number:02d}.gif", (truth * 255).astype(np.uint8))
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/official_train.txt").write_text("\n".join(f"{n:02d}" for n in range(21, 41)))
    (tmp_path / "splits/official_test.txt").write_text("\n".join(f"{n:02d}" for n in range(1, 21)))
    sources = {split: spec.build(drive(split, str(tmp_path))) for split in ("train", "validation", "test")}
    names = {split: {item.name for item in source.records} for split, source in sources.items()}
    assert {split: len(found) for split, found in names.items()} == {"train": 18, "validation": 2, "test": 20}
    assert len(set.union(*names.values())) == 40
    np.testing.assert_array_equal(sources["test"][0]["label"], np.where(inside, truth, IGNORE))
    with pytest.raises(UserError, match="DRIVE has the splits train, validation, test; got 'val'"):
        drive("val")


def test_a_list_may_name_images_with_or_without_ending_and_folder(tree):
    (tree / "list.txt").write_text("# mine\nsub/c\n\na.png\nimages/b.png\n")
    assert [item.name for item in folder(tree, list_file="list.txt").records] == ["sub/c", "a", "b"]
    (tree / "list.txt").write_text("b\n/there/a\n")
    assert [item.name for item in folder(tree, list_file=str(tree / "list.txt"), list_prefix="/there").records] == ["b", "a"]


def test_names_with_spaces_stand_in_lists(tmp_path):
    write(tmp_path / "images/my photo.png", picture())
    write(tmp_path / "labels/my photo.png", ids())
    (tmp_path / "names.txt").write_text("my photo\n")
    (tmp_path / "pairs.txt").write_text("images/my photo.png\tlabels/my photo.png\n")
    assert len(folder(tmp_path, list_file="names.txt")) == 1
    assert folder(tmp_path, list_file="pairs.txt")[0]["label"].shape == (6, 8)


def test_colour_coded_and_palette_labels(tmp_path):
    table = [{"id": 0, "name": "sea", "colour": [0, 0, 255]}, {"id": 1, "name": "land", "colour": [0, 255, 0]}]
    table.append({"id": 2, "name": "void", "colour": [0, 0, 0], "ignore": True})
    (tmp_path / "classes.json").write_text(json.dumps(table))
    truth = ids()
    colours = np.array([[0, 0, 255], [0, 255, 0], [0, 0, 0]], np.uint8)
    write(tmp_path / "images/a.jpg", picture())
    write(tmp_path / "labels/a.png", colours[truth])
    source = folder(tmp_path, class_table="classes.json")
    assert [item.name for item in source.classes] == ["sea", "land"]
    expected = np.where(truth == 2, IGNORE, truth)
    np.testing.assert_array_equal(source[0]["label"], expected)
    palette = Image.fromarray(truth).copy()
    palette.putpalette(colours.tobytes())
    palette.save(tmp_path / "labels/a.png")
    np.testing.assert_array_equal(source[0]["label"], expected)


def test_16_bit_ids_and_ignored_ids(tmp_path):
    write(tmp_path / "images/a.jpg", picture())
    label = RNG.choice([0, 1, 4000], (6, 8)).astype(np.uint16)
    write(tmp_path / "labels/a.png", label)
    source = folder(tmp_path, class_table="2", ignore_ids=(4000,))
    np.testing.assert_array_equal(source[0]["label"], np.where(label == 4000, IGNORE, label))


def test_a_turned_photograph_is_asked_for_and_each_answer_aligns_it_with_its_label(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8] = 255
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images/a.jpg", exif=exif)
    for orientation, drawn in (("ignore", pixels), ("apply", np.rot90(pixels, -1))):
        write(tmp_path / "labels/a.png", (drawn[..., 0] > 0).astype(np.uint8))
        with pytest.raises(UserError, match=r"a.jpg has EXIF orientation 6: .*orientation='apply' .* or orientation='ignore'"):
            folder(tmp_path, class_table="2")[0]
        record = folder(tmp_path, class_table="2", orientation=orientation)[0]
        np.testing.assert_array_equal(record["image"][..., 0] > 127, record["label"] == 1)
    assert Folder(root=str(tmp_path), labels="")[0]["image"].shape == (16, 24, 3)


def mask(*positions, h=6, w=8):
    pixels = np.zeros((h, w), np.uint8)
    for y, x in positions:
        pixels[y, x] = 255
    return pixels


def test_one_mask_for_each_class_is_found_by_the_names_of_the_classes(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"images/{name}.png", picture())
        write(tmp_path / f"labels/{name}_dry_leaf.png", mask((0, 0)))
    write(tmp_path / "labels/a_stem.png", mask((1, 1)))
    source = folder(tmp_path, class_table="background, dry leaf, stem")
    assert (source[0]["label"][0, 0], source[0]["label"][1, 1], source[0]["label"].sum()) == (1, 2, 3)
    assert source[1]["label"].sum() == 1
    assert source.notes == ("one mask for each class: labels are matched as {stem}_{class}",)


def test_masks_that_overlap_are_asked_for(tmp_path):
    write(tmp_path / "images/a.png", picture())
    write(tmp_path / "labels/leaf/a.png", mask((0, 0), (0, 1)))
    write(tmp_path / "labels/stem/a.png", mask((0, 1)))
    fields = {"class_table": "background, leaf, stem", "label_name": "{class}/{stem}"}
    with pytest.raises(UserError, match=r"Masks of two classes of a overlap in 2.1 % .*overlap='last' .* overlap='ignore'"):
        folder(tmp_path, **fields)[0]
    assert folder(tmp_path, **fields, overlap="last")[0]["label"][0, :3].tolist() == [1, 2, 0]
    assert folder(tmp_path, **fields, overlap="ignore")[0]["label"][0, :3].tolist() == [1, IGNORE, 0]
    write(tmp_path / "labels/background/a.png", mask((5, 7)))
    label = folder(tmp_path, **fields, overlap="last")[0]["label"]
    assert (label[5, 7], label[3, 3]) == (0, IGNORE)


def test_one_mask_for_each_object_is_joined_to_a_foreground(tmp_path):
    for name in ("x1", "x2"):
        write(tmp_path / f"{name}/images/{name}.png", picture())
        write(tmp_path / f"{name}/masks/1.png", mask((0, 0)))
        write(tmp_path / f"{name}/masks/2.png", mask((0, 0), (5, 5)))
    source = Folder(root=str(tmp_path), images=".", labels=".", image_name="{stem}/images/{stem}", label_name="{stem}/masks/*")
    assert [record.name for record in source.records] == ["x1", "x2"]
    assert [item.name for item in source.classes] == ["background", "foreground"]
    np.testing.assert_array_equal(source[0]["label"], mask((0, 0), (5, 5)) // 255)
    check_source(source)
    write(tmp_path / "x1/masks/3.png", mask((1, 1)) + np.arange(48, dtype=np.uint8).reshape(6, 8))
    with pytest.raises(UserError, match=r"3.png holds 47 values, .* Set binary_threshold"):
        Folder(root=str(tmp_path), images=".", labels=".", image_name="{stem}/images/{stem}", label_name="{stem}/masks/*")[0]


def test_a_file_for_each_channel_makes_one_image(tmp_path):
    pixels = picture()
    for channel in range(3):
        write(tmp_path / f"imagesTr/case_7_000{channel}.png", pixels[..., channel])
    write(tmp_path / "labelsTr/case_7.png", ids())
    fields = {"images": "imagesTr", "labels": "labelsTr", "image_name": "{stem}_{channel}"}
    source = folder(tmp_path, **fields)
    assert source.records[0].name == "case_7"
    np.testing.assert_array_equal(source[0]["image"], pixels)
    with pytest.raises(UserError, match=r"case_7 has 3 files of channels, .*channels is 2"):
        folder(tmp_path, **fields, channels=2)[0]


def test_names_of_two_unicode_forms_are_matched(tmp_path):
    write(tmp_path / unicodedata.normalize("NFC", "images/Käfer.png"), picture())
    write(tmp_path / unicodedata.normalize("NFD", "labels/Käfer.png"), ids())
    assert folder(tmp_path)[0]["label"].max() < 3


def test_names_that_differ_by_a_suffix_are_matched_and_told(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"images/{name}_leftImg8bit.png", picture())
        write(tmp_path / f"labels/{name}_gtFine_labelIds.png", ids())
    source = folder(tmp_path)
    assert [record.name for record in source.records] == ["a", "b"]
    assert source.notes == ("names are matched as {stem}_leftImg8bit and {stem}_gtFine_labelIds",)
    (tmp_path / "list.txt").write_text("b\nimages/a_leftImg8bit.png\n")
    assert [record.name for record in folder(tmp_path, list_file="list.txt").records] == ["b", "a"]


def test_a_loop_of_links_is_visited_once(tree):
    (tree / "images/again").symlink_to(".")
    (tree / "labels/again").symlink_to(tree / "labels")
    (tree / "images/copy.png").symlink_to("a.png")
    source = folder(tree)
    assert [record.name for record in source.records] == ["a", "b", "sub/c"]
    assert source.notes[0] == "1 images are links to others of images; each is read once"


def test_links_out_of_the_root_are_followed_to_regular_files(tree, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for part in ("images", "labels"):
        (tree / part / "a.png").rename(elsewhere / f"{part}.png")
        (tree / part / "a.png").symlink_to(elsewhere / f"{part}.png")
    assert len(folder(tree)) == 3
    assert folder(tree)[0]["image"].shape == (6, 8, 3)


def test_the_splits_of_a_folder_are_disjoint_and_its_coding_is_one(tmp_path):
    for number in range(20):
        write(tmp_path / f"images/{number:02d}.png", picture())
        write(tmp_path / f"labels/{number:02d}.png", mask((0, 0)) if number == 7 else mask())
    sources = [folder(tmp_path, class_table="background, cell", split=split) for split in ("train", "validation", "test")]
    assert [len(source) for source in sources] == [14, 3, 3]
    assert len({record.name for source in sources for record in source.records}) == 20
    assert {source.notes for source in sources} == {("labels are masks: 255 is cell",)}


def test_rare_foreground_is_looked_for_beyond_the_sample(tmp_path):
    for number in range(150):
        write(tmp_path / f"images/{number:03d}.png", picture())
        write(tmp_path / f"labels/{number:03d}.png", mask((0, 0)) if number == 100 else mask())
    source = folder(tmp_path, class_table="background, cell", part=(0.6, 0.7))
    assert max(source[index]["label"].max() for index in range(len(source))) == 1


def test_ids_and_values_below_zero_stand_in_a_config(tmp_path):
    write(tmp_path / "images/a.png", picture())
    write(tmp_path / "labels/a.tif", np.array(ids(), np.int32) - 1)
    described = spec.spec(Folder, root=str(tmp_path), class_table="2", ignore_ids=(-1,), value_range=(-10, 10.5))
    label = spec.build(described)[0]["label"]
    assert set(np.unique(label)) == {0, 1, IGNORE}


def test_dark_16_bit_images_are_read_in_their_own_range_and_told(tmp_path):
    for number in range(3):
        write(tmp_path / f"images/{number}.png", np.full((4, 4), 1000 * (1 + number), np.uint16))
    source = Folder(root=str(tmp_path), labels="", channels=1)
    assert [int(source[index]["image"].max()) for index in range(3)] == [16004, 32007, 48011], "of 12 bits: 4095 becomes 65535"
    assert source.notes == ("16-bit images hold at most 3,000: read as 12 bits, value_range=(0, 4095)",)
    write(tmp_path / "images/3.png", np.full((4, 4), 40_000, np.uint16))
    assert Folder(root=str(tmp_path), labels="", channels=1)[3]["image"].max() == 40_000


def test_the_range_of_images_leaves_masks_as_they_are(tmp_path):
    write(tmp_path / "images/a.png", np.full((6, 8), 3000, np.uint16))
    write(tmp_path / "labels/a.png", mask((0, 0)))
    write(tmp_path / "roi/a.png", np.full((6, 8), 255, np.uint8))
    for fields in ({}, {"value_range": (0.0, 4095.0)}, {"bands": (0,)}):
        source = folder(tmp_path, class_table="", binary_threshold=128, channels=1, roi="roi", **fields)
        np.testing.assert_array_equal(source[0]["label"], mask((0, 0)) // 255)
        np.testing.assert_array_equal(source.label(0), source[0]["label"])


def test_a_threshold_that_no_pixel_reaches_is_said(tmp_path):
    write(tmp_path / "images/a.png", picture())
    write(tmp_path / "labels/a.png", ids(classes=2))
    with pytest.raises(
        UserError, match=r"reaches binary_threshold=128; the values found are 0, 1. Set binary_threshold=1, or coding='mask'"
    ):
        folder(tmp_path, class_table="", binary_threshold=128)[0]
    np.testing.assert_array_equal(
        folder(tmp_path, class_table="", coding="mask")[0]["label"], np.asarray(Image.open(tmp_path / "labels/a.png"))
    )


def test_an_image_without_label_is_named_and_may_be_left_out(tree):
    for number in range(7):
        write(tree / f"images/x{number}.png", picture())
    with pytest.raises(UserError, match=r"7 of 10 images in .*images have no label in .*labels: x0, x1, x2, x3, x4 and 2 more"):
        folder(tree)
    assert len(folder(tree, only_labelled=True)) == 3
    assert len(Folder(root=str(tree), labels="")) == 10


def test_a_label_without_image_is_named(tree):
    write(tree / "labels/lone.png", ids())
    with pytest.raises(UserError, match=r"1 of 4 labels in .*labels have no image in .*images: lone"):
        folder(tree)


def test_sizes_that_differ_are_named(tree):
    write(tree / "labels/b.png", ids(5, 8))
    with pytest.raises(UserError, match=r"images/b.png is 6x8 \(height x width\) and labels/b.png is 5x8"):
        folder(tree)[1]
    for name in ("a", "b", "sub/c"):
        write(tree / f"roi/{name}.png", ids(6, 7))
    with pytest.raises(UserError, match=r"roi/a.png is 6x7"):
        folder(tree, roi="roi")[0]


def test_a_label_outside_the_classes_is_named_with_file_and_value(tree):
    label = ids()
    label[2, 5] = 3
    write(tree / "labels/b.png", label)
    with pytest.raises(UserError, match=r"labels/b.png holds the label 3 at x=5, y=2; allowed are 0..2, 255"):
        folder(tree)[1]


def test_a_corrupt_image_is_named(tree):
    (tree / "images/b.png").write_bytes((tree / "images/b.png").read_bytes()[:60])
    source = folder(tree)
    with pytest.raises(UserError, match=r"images/b.png is"):
        source[1]


def test_two_files_of_one_name_are_refused(tree):
    write(tree / "images/a.jpg", picture())
    with pytest.raises(UserError, match=r"Two files in .*images have one name: images/a\.(png|jpg) and images/a\.(png|jpg)"):
        folder(tree)


def test_files_of_other_kinds_are_passed_over_and_counted(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.dcm", "b.DCM", "c.txt", ".hidden.png"):
        (tmp_path / "images" / name).touch()
    with pytest.raises(UserError, match=r"no record in .*images \(files passed over: 2 of .dcm, 1 of .txt\)"):
        Folder(root=str(tmp_path), labels="")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"root": "/no/such"}, "There is no directory '/no/such'"),
        ({"root": ""}, "There is no directory ''"),
        ({"images": "pictures"}, r"There is no folder .*pictures \(images='pictures'\). Set images \('\.' is the root itself\)"),
        ({"labels": "annotations"}, r"There is no folder .*annotations .* or labels='' to do without"),
        ({"roi": "fov"}, r"There is no folder .*fov \(roi='fov'\)"),
        ({"list_file": "absent.txt"}, r"Cannot read the list .*absent.txt"),
        ({"list_file": "empty.txt"}, r"no record in .*empty.txt. Name one record a line"),
        ({"list_file": "wrong.txt"}, r"all files of the list .*wrong.txt; 2 do not exist: images/q.png, labels/q.png"),
        ({"list_file": "names.txt"}, r"all files of the list .*names.txt; 1 do not exist: q"),
        ({"class_table": "absent.json"}, "Cannot read the class table"),
        ({"class_table": ""}, "needs to know what the labels mean"),
        ({"channels": 0}, "1 or more channels, as many as bands; got channels=0"),
        ({"bands": (0, 1)}, r"as many as bands; got channels=3, bands=\(0, 1\)"),
        ({"snap": 1.0}, "Expected 0 <= snap < 1"),
        ({"overlap": "first"}, "overlap one of ask, last, ignore; got 0.0, 0, 'first'"),
        ({"split": "dev"}, "split is train, validation, test or '' for all records; got 'dev'"),
    ],
)
def test_what_is_missing_is_said_when_the_source_is_built(tree, fields, says):
    (tree / "empty.txt").write_text("\n# nothing\n")
    (tree / "wrong.txt").write_text("images/a.png labels/a.png\nimages/q.png labels/q.png\n")
    (tree / "names.txt").write_text("a\nq\n")
    with pytest.raises(UserError, match=says):
        folder(fields.pop("root", tree), **fields)


def test_a_source_is_hashable_and_travels_to_workers(tree):
    source = folder(tree)
    assert hash(source) == hash(folder(tree))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[0]["label"], source[0]["label"])


def test_the_recipes_survive_json(tree):
    for size, root in (("tiny", tree), ("small", tree)):
        config = recipe(size, str(root))
        assert spec.build(spec.from_json(spec.to_json(config))) == spec.build(config)
    with pytest.raises(UserError, match="folder has no recipe 'huge'; it has tiny, small"):
        recipe("huge")


def test_matching_many_files_opens_none_of_them(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
        for number in range(2000):
            (tmp_path / name / f"{number}.png").touch()  # empty: opening one would be an error
    assert len(folder(tmp_path)) == 2000


@pytest.mark.skipif(not (DATA / "camvid").is_dir(), reason=WHERE)
def test_camvid_has_the_published_shares():
    counts = np.zeros(256, np.int64)
    source = spec.build(camvid("train", str(DATA / "camvid")))
    for index in range(len(source)):
        counts += np.bincount(source.label(index).ravel(), minlength=256)
    shares = 100 * counts[:11] / counts[:11].sum()
    np.testing.assert_allclose(shares, [17.54, 24.22, 1.02, 32.96, 4.67, 10.12, 1.22, 1.17, 6.11, 0.67, 0.30], atol=0.006)
    assert 100 * counts[IGNORE] / counts.sum() == pytest.approx(3.95, abs=0.006)
    assert counts[11:255].sum() == 0
    assert [len(spec.build(camvid(split, str(DATA / "camvid")))) for split in ("train", "val", "test")] == [367, 101, 233]


@pytest.mark.skipif(not (DATA / "drive").is_dir(), reason=WHERE)
def test_drive_reads_vessels_inside_the_field_of_view():
    source = spec.build(drive("test", str(DATA / "drive")))
    record = source[0]
    assert len(source) == 20
    assert record["image"].shape == (584, 565, 3)
    assert set(np.unique(record["label"])) == {0, 1, IGNORE}
