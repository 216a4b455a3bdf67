import sys
import wave

import numpy as np
import pytest
import soundfile
from scipy.io import wavfile

from aeseg.data.modalities import audio
from aeseg.types import UserError
from tests.data.modalities import cases


def reader(root, seconds=0.1):
    return audio.reader(str(root), "audio", seconds, cases.STEMS)


def tone(rate, seconds, hertz=440):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def written(root, name, rate, samples):
    path = root / f"audio/{name}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, samples)
    return path


@pytest.mark.parametrize(("dtype", "zero", "scale"), [(np.uint8, 128, 128), (np.int16, 0, 2**15), (np.int32, 0, 2**31)])
def test_whole_numbers_become_samples_as_scipy_writes_them(tmp_path, dtype, zero, scale):
    values = np.array([[-1.0, 0.5], [0.25, -0.125], [0, 0.75]]) * scale + zero
    path = written(tmp_path, "a", 16_000, values.astype(dtype))
    samples, rate = audio.decoded(path)
    np.testing.assert_array_equal(samples, (values - zero) / scale)
    assert rate == 16_000


def test_samples_of_24_bits_have_their_sign(tmp_path):
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 3, 16_000, 0, "NONE", ""))
        sound.writeframes(b"\x00\x00\x80" + b"\xff\xff\xff" + b"\x00\x00\x40")
    np.testing.assert_array_equal(audio.decoded(path)[0][:, 0], [-1, -(2.0**-23), 0.5])


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_another_rate_is_the_same_tone_at_16_khz(tmp_path, rate):
    written(tmp_path, "a", rate, np.round(tone(rate, 0.2) * 2**15).astype(np.int16))
    found = cases.read(reader(tmp_path))["sound"]
    assert found.shape == (1600, 1)
    np.testing.assert_allclose(found[400:, 0], tone(16_000, 0.1)[400:], atol=2e-3)  # the filter starts from silence


def test_sounds_are_cut_and_end_in_silence_and_a_missing_one_is_marked(tmp_path):
    long = np.round(np.stack([tone(16_000, 0.3), -tone(16_000, 0.3)], axis=1) * 2**15).astype(np.int16)
    written(tmp_path, "a", 16_000, long)
    written(tmp_path, "sub/c", 16_000, long[:100])
    ours = reader(tmp_path)
    first, short, missing = (cases.read(ours, name) for name in ("a", "sub/c", "b"))
    np.testing.assert_array_equal(first["sound"], (long[:1600] / 2**15).astype(np.float32))
    np.testing.assert_array_equal(short["sound"][:100], first["sound"][:100])
    assert not short["sound"][100:].any()
    assert not missing["sound"].any()
    assert [bool(each["has_sound"]) for each in (first, short, missing)] == [True, True, False]
    assert missing["sound"].shape == (1600, 2)
    assert ours.notes == (f"1 of 3 images have no entry in {tmp_path}/audio, and count as missing it: b",)


@pytest.mark.parametrize(("kind", "error"), [("flac", 0), ("ogg", 0.05)])
def test_other_kinds_are_read_as_the_wav_of_the_same_sound(tmp_path, kind, error):
    samples = np.round(np.stack([tone(44_100, 0.2), -tone(44_100, 0.2)], axis=1) * 2**15).astype(np.int16)
    written(tmp_path, "a", 44_100, samples)
    soundfile.write(tmp_path / f"a.{kind}", samples, 44_100)
    (expected, _), (actual, rate) = audio.decoded(tmp_path / "audio/a.wav"), audio.decoded(tmp_path / f"a.{kind}")
    assert rate == 44_100
    np.testing.assert_allclose(actual, expected, atol=error)


def test_a_damaged_sound_is_refused_and_without_soundfile_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio/a.flac").write_bytes(b"fLaC")
    with pytest.raises(UserError, match=r"audio/a.flac is damaged, or no sound"):
        cases.read(reader(tmp_path))
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UserError, match=r"audio/a.flac cannot be read without soundfile \(.flac is no WAV\). Install it: pip install"):
        cases.read(reader(tmp_path))


def test_what_does_not_fit_is_named(tmp_path):
    written(tmp_path, "a", 16_000, np.zeros((10, 2), np.int16))
    written(tmp_path, "b", 16_000, np.zeros(10, np.int16))
    with pytest.raises(UserError, match=r"audio/b.wav has 1 channels of sound, and audio/a.wav has 2"):
        cases.read(reader(tmp_path), "b")
    with pytest.raises(UserError, match="got audio_seconds=0"):
        reader(tmp_path, 0)
