"""aeseg/runs/example.py: the shape of a network's images is known without data."""

import jax
import pytest

from aeseg import likelihoods
from aeseg.data.planes import Stack
from aeseg.data.sources.folder import Folder
from aeseg.runs import own_data
from aeseg.runs.example import config_example, image_channels
from aeseg.spec import build, recipe, spec
from aeseg.training import state
from experiments.configs import scenes
from tests.experiments.untrained import config_of
from tests.runs.own_data_test import folder_of


def variational(likelihood, numbers):
    method = recipe("aeseg.methods", "variational", "tiny")
    method.likelihood, method.decoder.channels = likelihood, numbers
    return config_of(method)


@pytest.mark.parametrize(
    ("likelihood", "numbers", "channels"),
    [
        (spec(likelihoods.Gaussian), 3, 3),
        (spec(likelihoods.Bernoulli), 1, 1),
        (spec(likelihoods.LogisticMixture), 100, 3),  # as many as the authors' code has for RGB (Salimans et al. 2017)
        (spec(likelihoods.LogisticMixture), 30, 1),  # weight, mean and scale of ten components
        (spec(likelihoods.LogisticMixture, mixtures=2), 30, 4),
    ],
)
def test_a_decoder_with_a_likelihood_returns_numbers_for_an_image_of_fewer_channels(likelihood, numbers, channels):
    config = variational(likelihood, numbers)
    assert image_channels(config) == channels
    run = build(config)
    assert run.example()["image"].shape == (1, 16, 16, channels)
    row = state.example(run.example())
    jax.eval_shape(lambda: run.method.init(jax.random.key(0), row, train=False))  # raises if the channels do not fit


def test_a_stacked_plane_adds_a_channel_to_the_data_s_channels():
    method = recipe("aeseg.methods", "segmenter", "tiny")
    assert image_channels(config_of(method)) == 3
    assert image_channels(config_of(method, (spec(Stack),))) == 4


def test_the_decoder_of_the_reader_s_own_images_follows_their_channels_and_its_likelihood(tmp_path):
    config = variational(spec(likelihoods.LogisticMixture), 100)
    grey = spec(Folder, root=str(folder_of(tmp_path / "grey", 10)), labels="", channels=1)
    config.data.source, config.data.train, config.data.validation, config.data.test = grey, {}, {}, {}
    own_data.follow_images(config)
    assert config.method.decoder.channels == 30
    assert image_channels(config) == 1


def test_a_caption_and_a_sound_are_as_long_as_those_of_scenes():
    config = scenes.get_config("fusion,senses")
    record, row = build(config).data.records("train")[0], config_example(config)
    assert {key: row[key].shape[1:] for key in ("caption", "sound")} == {key: record[key].shape for key in ("caption", "sound")}
