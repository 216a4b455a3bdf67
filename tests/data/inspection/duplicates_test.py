import cv2
import numpy as np
import pytest

from aeseg.data.inspection import duplicates, scan
from aeseg.data.sources.scenes import Scenes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make 12 scenes, and three of them again: as the same bytes, as a JPEG of quality 70, and at 1.5 times the size."""
    root = tmp_path_factory.mktemp("scenes")
    source = Scenes(records=12, height=96, width=96)
    for index in range(12):
        image = source[index]["image"][..., ::-1]
        cv2.imwrite(str(root / f"{index:02d}.png"), image)
        if index == 1:
            cv2.imwrite(str(root / "copy.png"), image)
        if index == 2:
            cv2.imwrite(str(root / "jpeg.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 70])
        if index == 3:
            cv2.imwrite(str(root / "large.png"), cv2.resize(image, None, fx=1.5, fy=1.5))
    for index in range(3):
        cv2.imwrite(str(root / f"flat{index}.png"), np.full((96, 96, 3), 80 * index, np.uint8))
    return root


def looked_at(root, seconds=60.0, **fields):
    files = scan.seen(str(root), sorted(path.name for path in root.iterdir()))
    return files, scan.pictures(str(root), files, seconds, **fields)


def test_only_copies_and_near_duplicates_are_found(folder):
    files, pictures = looked_at(folder)
    assert duplicates.same(str(folder), files) == [("01.png", "copy.png")]
    assert sorted(duplicates.near(pictures)) == [("01.png", "copy.png"), ("02.png", "jpeg.jpg"), ("03.png", "large.png")]


def test_hashes_are_the_signs_of_differences():
    picture = np.tile(np.arange(16, dtype=np.uint8), (16, 1))
    codes = duplicates.hashes(np.stack([picture, picture[:, ::-1]]))
    assert np.bitwise_count(codes).sum(axis=1).tolist() == [240, 0]


def test_clusters_are_the_connected_pairs():
    assert duplicates.clusters(["a", "b", "c", "d"], [("b", "c"), ("c", "d"), ("x", "a")]) == ["a", "b", "b", "b"]


def test_the_time_limit_holds_and_unreadable_files_are_reported(folder, tmp_path):
    files, pictures = looked_at(folder, 0.0, clock=iter(range(999)).__next__)
    assert pictures == {}
    (tmp_path / "bad.png").write_text("junk")
    bad = scan.seen(str(tmp_path), ["bad.png", "absent.png"])
    assert [file.header for file in bad] == [None, None]
    assert "bad.png is not an image" in bad[0].error
    assert scan.pictures(str(tmp_path), bad, 1.0) == {}
    assert scan.workers() >= 1
    assert len(files) == 18


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_a_thumbnail_is_the_resized_image(tmp_path, ending):
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (512, 512), dtype=np.uint8), (0, 0), 40)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    cv2.imwrite(str(tmp_path / f"a.{ending}"), image)
    files = scan.seen(str(tmp_path), [f"a.{ending}"])
    small = scan.pictures(str(tmp_path), files, 60.0)[f"a.{ending}"]
    expected = image.reshape(16, 32, 16, 32).mean(axis=(1, 3))
    np.testing.assert_allclose(small.astype(float), expected, atol=3)
