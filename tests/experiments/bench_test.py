import functools
import json

import pytest
import torch

from aeseg.methods import fcmae, spark
from aeseg.models import layers
from aeseg.models.encoders import convnet, mit
from aeseg.spec import spec
from aeseg.types import UserError
from experiments import bench
from experiments.benches import convolutional, inference, mae, published, sides, sparse


@pytest.fixture(autouse=True)
def _few_rows_in_eager_form(monkeypatch):
    """Batches of two images, and the first of PyTorch's forms: compiling takes long."""
    for module in set(sides.MODULES.values()):
        monkeypatch.setattr(module, "NETWORKS", {name: (size, min(rows, 2)) for name, (size, rows) in module.NETWORKS.items()})
        if hasattr(module, "FORMS"):
            monkeypatch.setattr(module, "FORMS", module.FORMS[:1])


def in_process(name, size, pairs, form):
    """Measure with both sides in this process, so that tests can make the networks small."""
    ours, candidates = sides.both(torch, name, size, form)
    theirs = {key: sides.timed(step) for key, step in candidates.items()}
    return bench.measured(name, size, pairs, form, sides.timed(ours), theirs)


@pytest.mark.parametrize(("name", "form"), [("autoencoder", "fast"), ("unet", "fast"), ("unet", "plain")])
def test_convolutional_networks_do_the_same_arithmetic_in_pytorch(monkeypatch, name, form):
    small = {"autoencoder": {"widths": (4, 4, 6)}, "unet": {"widths": (4, 4, 6, 6), "convolutions": 2, "bottleneck": 8}}[name]
    monkeypatch.setattr(convnet, "recipe", lambda size: convnet.spec(convnet.ConvNet, **small))
    row = in_process(name, 16, 1, form)  # raises when the losses differ
    assert row["ratio"] > 0
    assert row["low"] == row["high"] == row["ratio"]
    json.dumps(row)


@pytest.mark.parametrize("name", ["denoiser", "segmenter"])
def test_the_default_networks_do_the_same_arithmetic_in_pytorch(name):
    row = in_process(name, 16, 1, "fast")  # raises when the losses differ
    assert row["batch"] == 2
    assert row["torch_format"] == "channels_last"


@pytest.mark.parametrize("name", ["segnet", "densenet"])
def test_published_networks_do_the_same_arithmetic_in_pytorch(monkeypatch, name):
    encoder, head = published.recipes(name)
    if name == "segnet":
        encoder.widths, encoder.convolutions = (5, 6), (1, 1)
    else:
        encoder.update(depths=(1, 2, 2), growth=3, width=5)
        head.update(depths=(2, 1), growth=3)
    monkeypatch.setattr(published, "recipes", lambda name: (encoder, head))
    assert in_process(name, 21, 1, "fast")["batch"] == 2  # raises when the losses differ; poolings do not divide 21


def test_fcmae_does_the_same_arithmetic_in_pytorch(monkeypatch):
    node = fcmae.recipe("tiny")
    node.encoder.depths = (1, 2)
    monkeypatch.setattr(sparse, "networks", functools.partial(sparse.networks, node=node))
    in_process("fcmae", 16, 1, "fast")  # raises when the losses differ


def test_spark_does_the_same_arithmetic_in_pytorch(monkeypatch):
    node = spark.recipe("resnet50")
    node.encoder.update(widths=(4, 4, 5, 6), depths=(1, 2, 1, 1), stem=4)
    node.decoder.width = 32
    monkeypatch.setattr(sparse, "networks", functools.partial(sparse.networks, node=node))
    in_process("spark", 96, 1, "fast")  # raises when the losses differ


def test_mae_does_the_same_arithmetic_in_transformers(monkeypatch):
    monkeypatch.setattr(mae, "DECODER", {"width": 8, "depth": 1, "heads": 2})
    monkeypatch.setattr(mae, "networks", functools.partial(mae.networks, encoder="tiny", compiled=False))
    row = in_process("mae", 16, 1, "fast")  # raises when the losses differ
    assert row["torch_format"] == "eager"
    json.dumps(row)


@pytest.mark.parametrize("name", ["unet-predict-2", "segnet-predict-1", "segformer-predict-2"])
def test_predictions_do_the_same_arithmetic_in_pytorch(monkeypatch, name):
    unet = spec(convnet.ConvNet, widths=(4, 4, 6, 6), convolutions=2, bottleneck=8)
    basic, b0 = published.recipes("segnet"), mit.recipe("small")
    basic[0].widths, basic[0].convolutions = (5, 6), (1, 1)
    monkeypatch.setattr(convnet, "recipe", lambda size: unet)
    monkeypatch.setattr(inference, "recipes", lambda name: basic)
    monkeypatch.setattr(mit, "recipe", lambda size: b0)
    monkeypatch.setitem(inference.NETWORKS, name, (180, 2))
    monkeypatch.setitem(sides.MODULES, name, inference)
    row = in_process(name, 180 if name.startswith("segformer") else 90, 1, "fast")  # raises when the logits differ
    assert 0 < row["loss"] < 100


def test_a_stretch_is_one_long_step_or_two_seconds_of_short_ones():
    assert [bench.stretch(seconds) for seconds in (8.0, 2.0, 0.75, 0.01)] == [1, 1, 3, 200]


def test_losses_that_differ_are_an_error():
    with pytest.raises(AssertionError, match="the losses of the first steps differ"):
        bench.check("unet", [1.0, 0.9], [1.0, 0.8])


def test_the_fast_forms_are_restored_afterwards():
    before = layers.convolve
    with convolutional.plain_layers():
        assert layers.convolve is not before
    assert layers.convolve is before


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--networks=vgg", r"The networks are denoiser, segmenter, autoencoder, .*; got 'vgg'"),
        ("--instructions=sse", r"Expected --instructions=avx2 or none; got 'sse'"),
        ("--form=slow", r"The forms are fast, xla, plain; got 'slow'"),
        ("--pairs=0", r"at least one pair of steps; got --pairs=0"),
    ],
)
def test_a_wrong_flag_is_named(flag, message):
    with pytest.raises(UserError, match=message):
        bench.run(["bench", flag])
