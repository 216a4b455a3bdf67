"""Sound, as patches of its log-mel spectrogram."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from aeseg.models import tokens
from aeseg.types import Batch, UserError

RATE = 16_000
WINDOW, HOP = 400, 160
"""25 and 10 ms, in samples."""
BANDS = 80


class Audio(nn.Module):
    """Patches of `log_mel` of each channel of `key`, float32 [b samples] or [b samples channels] at 16 kHz; squared error.

    A patch covers some frames of 10 ms and some bands (Huang et al. 2022, "Masked autoencoders that listen", section 3).

    patch      (frames, bands), divisors of the spectrogram's size
    channels   number of channels of the sound
    """

    key: str = "sound"
    patch: tuple[int, int] = (10, 16)
    channels: int = 2

    term = "squared_error"

    def grid(self, batch: Batch) -> tuple[int, int]:
        frames = tokens.read(batch, self.key, "Audio").shape[1] // HOP
        if frames % self.patch[0] or BANDS % self.patch[1] or not frames:
            raise UserError(
                f"Audio needs patches that divide the spectrogram; {self.key} has {frames} frames and {BANDS} bands, and a patch has "
                f"{self.patch[0]} frames and {self.patch[1]} bands. Crop the sound, or set patch to divisors."
            )
        return frames // self.patch[0], BANDS // self.patch[1]

    def present(self, batch: Batch) -> Bool[Array, "b n"]:
        rows, columns = self.grid(batch)
        return jnp.repeat(tokens.recorded(batch, self.key)[:, None], rows * columns, axis=1)

    @nn.compact
    def __call__(self, batch: Batch, width: int, dtype: str) -> Float[Array, "b n {width}"]:
        return tokens.embedded(self._patches(batch), self.grid(batch), width, dtype)

    def numbers(self, batch: Batch) -> int:
        return self._patches(batch).shape[-1]

    def error(self, values: Float[Array, "b n p"], batch: Batch) -> Float[Array, "b n"]:
        return jnp.mean(jnp.square(values - self._patches(batch)), axis=-1)

    def picture(self, values: Float[Array, "b n p"], visible: Bool[Array, "b n"], batch: Batch) -> None:
        return None

    def example(self, h: int, w: int) -> np.ndarray:
        """Return the silence of one record, as long as a patch."""
        return np.zeros((1, self.patch[0] * HOP, self.channels), np.float32)

    def _patches(self, batch: Batch) -> Float[Array, "b n p"]:
        (rows, columns), (frames, bands) = self.grid(batch), self.patch
        sound = tokens.read(batch, self.key, "Audio").astype(jnp.float32)
        sound = sound.reshape(*sound.shape[:2], -1)  # b t c
        if sound.shape[-1] != self.channels:
            raise UserError(f"Audio reads {self.channels} channels of {self.key}; the batch has {sound.shape[-1]}. Set channels.")
        spectrogram = jnp.stack([log_mel(sound[..., channel]) for channel in range(sound.shape[-1])], axis=-1)
        squares = spectrogram.reshape(sound.shape[0], rows, frames, columns, bands, -1).transpose(0, 1, 3, 2, 4, 5)
        return squares.reshape(sound.shape[0], rows * columns, -1)


def log_mel(sound: Float[Array, "b t"]) -> Float[Array, "b _ 80"]:
    """Return Whisper's log-mel spectrogram (Radford et al. 2022, section 2.2): a frame of 80 bands every 10 ms.

    Steps: power of a Hann window of 25 ms (the sound is mirrored at its ends), mel bands of equal area, log10, a floor of 8 below the
    sound's maximum, then (x + 4) / 4.  The last frame, of half a window, is dropped.
    """
    padded = jnp.pad(sound, ((0, 0), (WINDOW // 2, WINDOW // 2)), mode="reflect")
    start = jnp.arange(sound.shape[1] // HOP) * HOP
    frames = padded[:, start[:, None] + jnp.arange(WINDOW)[None]]  # b frames window
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = jnp.square(jnp.abs(jnp.fft.rfft(frames * jnp.asarray(window, jnp.float32)[None, None], axis=-1)))
    bands = jnp.einsum("btf,fm->btm", power, jnp.asarray(mel_bands()), precision=jax.lax.Precision.HIGHEST)
    level = jnp.log10(jnp.maximum(bands, 1e-10))
    level = jnp.maximum(level, jnp.max(level, axis=(1, 2), keepdims=True) - 8)
    return (level + 4) / 4


def mel_bands() -> Float[np.ndarray, "201 80"]:
    """Return triangular filters of equal area with corners evenly spaced in mel from 0 to 8 kHz (Slaney 1998, "Auditory Toolbox").

    Mel: 3 per 200 Hz up to 1 kHz, and above 1 kHz 27 per factor of 6.4.
    """
    top = 15 + np.log(RATE / 2 / 1000) * 27 / np.log(6.4)
    mel = np.linspace(0, top, BANDS + 2)
    corners = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
    frequency = np.linspace(0, RATE / 2, WINDOW // 2 + 1)[:, None]
    low, middle, high = corners[None, :-2], corners[None, 1:-1], corners[None, 2:]
    triangle = np.minimum((frequency - low) / (middle - low), (high - frequency) / (high - middle))
    return (np.maximum(triangle, 0) * 2 / (high - low)).astype(np.float32)
