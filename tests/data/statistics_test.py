import numpy as np
import pytest

from aeseg.data.sources.scenes import Scenes
from aeseg.data.statistics import channel_statistics
from aeseg.types import UserError


class Images:
    def __init__(self, *images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"image": self.images[index], "name": str(index)}


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_they_equal_numpy_over_all_pixels_of_all_images(channels):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, 7, channels), dtype=np.uint8) for h in (3, 50, 11)]
    pixels = np.concatenate([image.reshape(-1, channels) for image in images]) / 255
    found = channel_statistics(Images(*images))
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(axis=0), rtol=1e-9)
    assert found.images == 3


def test_a_sample_depends_on_the_seed_and_is_near_the_full_statistics():
    source = Scenes(records=64, height=32, width=32)
    whole, part = channel_statistics(source), channel_statistics(source, images=32, seed=1)
    assert part == channel_statistics(source, images=32, seed=1)
    assert part != channel_statistics(source, images=32, seed=2)
    np.testing.assert_allclose(part.mean, whole.mean, atol=0.05)


def test_a_constant_channel_has_no_deviation():
    assert channel_statistics(Images(np.full((4, 4, 1), 7, np.uint8))).std == (0.0,)


def test_images_without_statistics_are_refused():
    with pytest.raises(UserError, match="at least 1 image; got 0 records"):
        channel_statistics(Images())
    with pytest.raises(UserError, match="3 and 1 channels"):
        channel_statistics(Images(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 1), np.uint8)))
