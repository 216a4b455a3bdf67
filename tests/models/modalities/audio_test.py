"""aeseg/models/modalities/audio.py, against Whisper's feature extractor of transformers."""

import jax.numpy as jnp
import numpy as np
import pytest
from transformers import WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from aeseg.models.modalities import audio
from aeseg.models.modalities.audio import Audio
from aeseg.types import UserError
from tests.models.modalities import cases

BATCH = cases.batch()
OURS = Audio(patch=(5, 20))


def test_the_spectrogram_equals_whisper():
    time = np.arange(16_000) / 16_000
    tones = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 3000 * time**2)
    sound = np.stack([tones, np.random.default_rng(0).normal(size=16_000) * 0.1, np.zeros(16_000)]).astype(np.float32)
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=1)
    expected = np.stack([extractor(row, sampling_rate=16_000)["input_features"][0] for row in sound])
    found = np.asarray(audio.log_mel(jnp.asarray(sound)))
    assert found.shape == (3, 100, 80)
    np.testing.assert_allclose(found, expected.transpose(0, 2, 1), atol=2e-4)


def test_the_bands_equal_transformers():
    expected = mel_filter_bank(201, 80, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(audio.mel_bands(), expected, atol=1e-7)


def test_another_number_of_channels_is_named():
    with pytest.raises(UserError, match=r"Audio reads 1 channels of sound; the batch has 2\. Set channels"):
        Audio(patch=(5, 20), channels=1).numbers(BATCH)


def test_the_example_is_a_sound_that_the_modality_reads():
    batch = {"sound": jnp.asarray(OURS.example(8, 8)), "valid": jnp.ones(1, bool)}
    assert OURS.grid(batch) == (1, 4)
    assert OURS.numbers(batch) == OURS.numbers(BATCH)


def test_patches_of_frames_and_bands_are_tokens():
    cases.check_tokens(OURS, BATCH, 2 * 4)
    assert OURS.numbers(BATCH) == 5 * 20 * 2
    patches = OURS._patches(BATCH)
    left = audio.log_mel(BATCH["sound"][..., 0])
    np.testing.assert_array_equal(patches[:, 6].reshape(4, 5, 20, 2)[..., 0], left[:, 5:10, 40:60])  # second row, third column
    np.testing.assert_allclose(OURS.error(patches + 2, BATCH), 4, rtol=1e-5)


def test_one_channel_needs_no_axis():
    mono = {**BATCH, "sound": BATCH["sound"][..., 0]}
    assert Audio(patch=(5, 20), channels=1).numbers(mono) == 5 * 20
    assert not OURS.present({**mono, "has_sound": jnp.zeros(4, bool)}).any()


def test_patches_that_do_not_fill_the_spectrogram_are_named():
    with pytest.raises(UserError, match="sound has 10 frames and 80 bands, and a patch has 7 frames and 16 bands"):
        Audio(patch=(7, 16)).grid(BATCH)
