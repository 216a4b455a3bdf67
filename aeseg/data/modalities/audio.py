"""Sound: WAV files, read by Python; other kinds by soundfile (`pip install -e '.[audio]'`)."""

import io
import math
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from aeseg.data.files import TEXT_LIMIT, opened, shown, size
from aeseg.data.matching import Files
from aeseg.data.modalities import matching
from aeseg.data.modalities.matching import Stems
from aeseg.data.narration import RATE
from aeseg.types import UserError

KINDS = (".wav", ".flac", ".ogg", ".mp3", ".aiff")


@dataclass(frozen=True)
class Audio:
    """The first `seconds` of each sound, float32 [samples channels] in [-1, 1] at 16 kHz.  Shorter sounds end in silence.

    Other rates are converted by a polyphase filter (scipy.signal.resample_poly).  All files have the first file's number of channels.
    """

    root: str
    files: Mapping[str, str]
    first: str
    seconds: float | int
    notes: tuple[str, ...] = ()
    key = "sound"

    def read(self, files: Files, image: np.ndarray) -> dict[str, Any]:
        path = self.files.get(files.name, "")
        sound = np.zeros(self.shape, np.float32)
        if path:
            heard = resampled(*decoded(Path(self.root, path)))[: len(sound)]
            if heard.shape[1] != sound.shape[1]:
                raise UserError(
                    f"{shown(path)} has {heard.shape[1]} channels of sound, and {shown(self.first)} has {sound.shape[1]}; expected the "
                    "same number in all files. Convert one of them."
                )
            sound[: len(heard)] = heard
        return {self.key: sound, f"has_{self.key}": np.array(bool(path))}

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of a sound; reads the first file."""
        return round(self.seconds * RATE), self._channels

    @cached_property
    def _channels(self) -> int:
        return decoded(Path(self.root, self.first))[0].shape[1]


def reader(root: str, folder: str, seconds: float | int, stems: Stems, complete: bool = True) -> Audio:
    """Return the reader of a folder."""
    if not 0 < round(seconds * RATE) < 2**31:
        raise UserError(f"A sound has at least one sample of {RATE} in a second; got audio_seconds={seconds}. Set audio_seconds.")
    matches = matching.of_folder(root, folder, "audio", KINDS, stems, complete)
    return Audio(root, matches.of, matches.first, seconds, matches.notes)


def decoded(path: Path) -> tuple[Float64[np.ndarray, "t c"], int]:
    """Return a file's samples in [-1, 1], and their number in a second."""
    with opened(path) as file:
        if size(file) > 16 * TEXT_LIMIT:
            raise UserError(f"{shown(path)} has {size(file):,} bytes; expected at most {16 * TEXT_LIMIT:,}. Cut it.")
        data = file.read()
    if path.suffix.lower() == ".wav" and data[:4] == b"RIFF":
        try:
            with wave.open(io.BytesIO(data)) as sound:
                return _samples(sound.readframes(sound.getnframes()), sound.getsampwidth(), sound.getnchannels()), sound.getframerate()
        except (wave.Error, EOFError, ValueError, ZeroDivisionError) as error:
            problem = shown(error)
    else:
        problem = f"{path.suffix} is no WAV"
    return _by_soundfile(data, path, problem)


def resampled(samples: Float64[np.ndarray, "t c"], rate: int) -> Float32[np.ndarray, "_ c"]:
    """Return the sound at 16 kHz, clipped to [-1, 1]."""
    common = math.gcd(rate, RATE)
    if rate != RATE:
        from scipy import signal  # takes a second to import

        samples = signal.resample_poly(samples, RATE // common, rate // common, axis=0)
    return np.clip(samples, -1, 1).astype(np.float32)


def _samples(data: bytes, width: int, channels: int) -> Float64[np.ndarray, "t c"]:
    """Return samples of 8 bits (unsigned), 16, 24 or 32 bits (signed, little-endian) in [-1, 1)."""
    raw = np.frombuffer(data, np.uint8)
    raw = raw[: len(raw) // (width * channels) * width * channels].reshape(-1, width)
    if width == 1:
        values = raw[:, 0].astype(np.float64) - 128
    else:
        high = np.zeros((len(raw), 4), np.uint8)
        high[:, 4 - width :] = raw  # the bytes above decide the sign
        values = high.view("<i4")[:, 0] / 2.0 ** (32 - 8 * width)
    return values.reshape(-1, channels) / 2.0 ** (8 * width - 1)


def _by_soundfile(data: bytes, path: Path, problem: str) -> tuple[Float64[np.ndarray, "t c"], int]:
    try:
        import soundfile
    except ImportError as error:
        raise UserError(
            f"{shown(path)} cannot be read without soundfile ({problem}). Install it: pip install -e '.[audio]', or convert the file to "
            "WAV with whole numbers (PCM)."
        ) from error
    try:
        return soundfile.read(io.BytesIO(data), dtype="float64", always_2d=True)
    except soundfile.SoundFileError as error:
        raise UserError(f"{shown(path)} is damaged, or no sound: {shown(error)}. Replace it, or take it out.") from error
