import zlib

import numpy as np
import pytest

from aeseg.data import narration
from aeseg.data.narration import Shape
from aeseg.data.sources.scenes import CLASSES, Scenes

NAMES = {each.name for each in CLASSES}
CHECKSUMS = [2771018154, 3057830326]
LABEL, DEPTH = np.zeros((12, 12), np.uint8), np.ones((12, 12), np.float32)
LABEL[0:4, 0:6], DEPTH[0:4, 0:6] = 2, 0.5  # a ring that the disc partly hides
LABEL[2:4, 2:4], DEPTH[2:4, 2:4] = 1, 0.25
LABEL[8:12, 10:12], DEPTH[8:12, 10:12] = 1, 0.75


def test_objects_are_told_apart_by_depth_and_come_nearest_first():
    found = narration.shapes(LABEL, DEPTH)
    assert [each.kind for each in found] == [1, 2, 1]
    assert [each.area for each in found] == [4 / 144, 20 / 144, 8 / 144]
    assert found[0][2:] == (3 / 12, 3 / 12)
    assert found[2][2:] == (10 / 12, 11 / 12)


def test_a_caption_names_objects_and_positions():
    text = narration.caption(narration.shapes(LABEL, DEPTH), CLASSES)
    assert text == "a disc at the top left, a ring at the top left, a disc at the bottom right"
    assert narration.caption([], CLASSES) == "nothing"


def test_bytes_are_padded_with_zeros_and_survive_the_round_trip():
    data = narration.as_bytes("añ", 8)
    assert data.tolist() == [97, 195, 177, 0, 0, 0, 0, 0]
    assert data.tobytes().rstrip(b"\0").decode() == "añ"
    assert narration.as_bytes("abc", 2).tolist() == [97, 98]


def test_loudness_is_the_size_of_an_object_and_panning_its_position():
    quiet, loud = narration.sound([Shape(1, 0.1, 0.5, 0.5)]), narration.sound([Shape(1, 0.2, 0.5, 0.5)])
    np.testing.assert_allclose(loud, 2 * quiet, rtol=1e-6)
    right = narration.sound([Shape(1, 0.1, 0.5, 0.75)])
    assert np.abs(right[:, 1]).max() == pytest.approx(3 * np.abs(right[:, 0]).max())
    both = narration.sound([Shape(1, 0.1, 0.5, 0.5), Shape(4, 0.3, 0.1, 0.9)])
    np.testing.assert_allclose(both, quiet + narration.sound([Shape(4, 0.3, 0.1, 0.9)]), atol=1e-7)
    assert np.abs(narration.sound([])).max() == 0


@pytest.mark.parametrize("kind", range(1, 8))
def test_a_class_has_its_own_pitch_and_timbre(kind):
    """By Fourier transform: the strongest tone is the class's, and the octave above it grows with the class."""
    spectrum = np.abs(np.fft.rfft(narration.sound([Shape(kind, 1.0, 0.5, 0.0)])[:, 0]))
    pitch = narration.PITCH[kind - 1]
    assert spectrum.argmax() == pitch
    share = (kind - 1) / 14
    assert spectrum[2 * pitch] / spectrum[pitch] == pytest.approx(share / (1 - share), rel=0.02, abs=0.005)


def test_scenes_have_captions_and_sounds_on_request_and_are_otherwise_unchanged():
    plain, told = Scenes(records=3)[2], Scenes(records=3, caption=True, sound=True)[2]
    assert told.keys() - plain.keys() == {"caption", "sound"}
    for name in ("image", "label", "depth"):
        np.testing.assert_array_equal(plain[name], told[name])
    words = told["caption"].tobytes().rstrip(b"\0").decode()
    assert {CLASSES[kind].name for kind in np.unique(told["label"])[1:]} == {
        word for word in words.replace(",", "").split() if word in NAMES
    }
    assert told["sound"].shape == (16_000, 2)
    assert told["sound"].dtype == np.float32


def test_captions_and_sounds_are_the_same_on_every_machine():
    told = Scenes(records=8, caption=True, sound=True)[7]
    assert [zlib.crc32(told[name].tobytes()) for name in ("caption", "sound")] == CHECKSUMS


def test_captions_of_many_scenes_fit():
    longest = max(
        len(narration.caption(narration.shapes(r["label"], r["depth"]), CLASSES)) for r in (Scenes(records=200)[i] for i in range(200))
    )
    assert longest <= narration.CAPTION
