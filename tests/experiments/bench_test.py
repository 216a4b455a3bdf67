import builtins
import functools
import json

import pytest

from aeseg.models import layers
from aeseg.models.encoders import convnet
from aeseg.types import UserError
from experiments import bench
from experiments.benches import convolutional, mae, small


@pytest.mark.parametrize(("name", "form"), [("autoencoder", "fast"), ("unet", "fast"), ("unet", "plain")])
def test_convolutional_networks_do_the_same_arithmetic_in_pytorch(monkeypatch, name, form):
    import torch

    small = {"autoencoder": {"widths": (4, 4, 6)}, "unet": {"widths": (4, 4, 6, 6), "convolutions": 2, "bottleneck": 8}}[name]
    monkeypatch.setattr(convnet, "recipe", lambda size: convnet.spec(convnet.ConvNet, **small))
    row = bench.measured(torch, name, 16, 1, form)  # raises when the losses differ
    assert row["ratio"] > 0
    assert row["low"] == row["high"] == row["ratio"]
    json.dumps(row)


@pytest.mark.parametrize("name", ["denoiser", "segmenter"])
def test_the_default_networks_do_the_same_arithmetic_in_pytorch(monkeypatch, name):
    import torch

    monkeypatch.setattr(small, "FORMS", small.FORMS[:1])
    monkeypatch.setattr(small, "BATCHES", {"denoiser": 2, "segmenter": 2})
    row = bench.measured(torch, name, 16, 1, "fast")  # raises when the losses differ
    assert row["batch"] == 2
    assert row["torch_format"] == "channels_last"


def test_mae_does_the_same_arithmetic_in_transformers(monkeypatch):
    import torch

    monkeypatch.setattr(mae, "DECODER", {"width": 8, "depth": 1, "heads": 2})
    monkeypatch.setattr(mae, "networks", functools.partial(mae.networks, encoder="tiny", compiled=False))
    row = bench.measured(torch, "mae", 16, 1, "fast")  # raises when the losses differ
    assert row["torch_format"] == "eager"
    json.dumps(row)


def test_losses_that_differ_are_an_error():
    with pytest.raises(AssertionError, match="the losses of the first steps differ"):
        bench.check("unet", [1.0, 0.9], [1.0, 0.8])


def test_the_fast_forms_are_restored_afterwards():
    before = layers.convolve
    with convolutional.plain_layers():
        assert layers.convolve is not before
    assert layers.convolve is before


def test_without_pytorch_the_error_names_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "torch":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"needs PyTorch, which is not installed. Install it: pip install -e '.\[bench\]'"):
        bench.imported_torch()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--networks=vgg", r"The networks are denoiser, segmenter, autoencoder, unet, mae; got 'vgg'"),
        ("--form=slow", r"The forms are fast and plain; got 'slow'"),
        ("--pairs=0", r"at least one pair of steps; got --pairs=0"),
    ],
)
def test_a_wrong_flag_is_named(flag, message):
    with pytest.raises(UserError, match=message):
        bench.run(["bench", flag])
