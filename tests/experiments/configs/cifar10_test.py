"""experiments/configs/cifar10.py: the example of the reference text trains as the same network does in torch."""

import cv2
import numpy as np
import pytest

from aeseg import spec
from aeseg.types import UserError
from experiments.configs import cifar10
from experiments.console import cli
from tests.experiments import torch_example

IMAGES, VALIDATION = 160, 24


@pytest.fixture
def folder(tmp_path):
    """Smooth images in train/ and test/, in a folder for each class, as the sample has them."""
    random = np.random.default_rng(0)
    for split, number in (("train", IMAGES), ("test", VALIDATION)):
        for index in range(number):
            path = tmp_path / split / ("bird" if index % 2 else "ship") / f"{index:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), cv2.resize(random.integers(0, 256, (4, 4, 3)).astype(np.uint8), (32, 32)))
    return tmp_path


def described(folder, **fields):
    flags = [f"--config.{name}={value}" for name, value in {"data.root": folder, **fields}.items()]
    return cli.parse(["pretrain", *flags], "", config="cifar10:folder")


def test_its_losses_at_the_start_and_after_an_epoch_are_torchs(folder):
    config = described(folder).config
    config.method.encoder.widths, config.method.decoder.widths = (8, 16, 24), (24, 16, 8)
    run = spec.build(config)
    ours, theirs = torch_example.losses(run, run.evaluate_every)
    assert run.evaluate_every == IMAGES // 32
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    assert ours[1] < ours[0] - 5e-4, "the epoch changes the loss by forty times the tolerance"


def test_it_has_the_settings_of_the_text(folder):
    config = described(folder, **{"given.epochs": 50}).config
    run = spec.build(config)
    assert (run.batch_size, run.steps, run.evaluate_every) == (32, 50 * (IMAGES // 32), IMAGES // 32)
    assert (run.method.encoder.widths, run.method.decoder.widths) == ((64, 128, 256), (256, 128, 64))
    assert (run.method.objective, run.method.output) == ("binary_cross_entropy", "sigmoid")
    fields = config.optimiser
    assert (fields.weight_decay, fields.clip, fields.schedule, fields.steps) == (0.0, 0.0, "constant", run.steps)
    assert (fields.learning_rate, fields.b1, fields.b2) == (1e-3, 0.9, 0.999), "Adam's defaults (Kingma & Ba 2015)"


def test_the_sample_has_7800_steps_and_all_of_cifar_10_78100():
    whole = cifar10.get_config()
    assert (whole.steps, whole.optimiser.steps, whole.evaluate_every) == (78_100, 78_100, 1_562)
    whole.given.images = 5_000
    assert (whole.steps, whole.optimiser.steps, whole.evaluate_every, whole.save_every) == (7_800, 7_800, 156, 156)


def test_a_folder_with_another_number_of_images_is_refused(folder):
    assert described(folder, **{"given.images": IMAGES}).config.given.images == IMAGES
    with pytest.raises(UserError, match=r"Expected 5,000 training images; the folder has 160\. Set --config\.data\.root\."):
        described(folder, **{"given.images": 5_000})
