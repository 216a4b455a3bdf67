"""Networks that nothing trained, as `workdir.load_trained` would return them: on scenes of 16x24, seen in windows of 16x16."""

import jax
import jax.numpy as jnp

from aeseg.data.sources.scenes import CLASSES, Scenes
from aeseg.methods import denoising
from aeseg.methods.segmenter import Segmenter
from aeseg.runs.configs import data_config, run_config, warm_adamw
from aeseg.runs.data import SPLITS
from aeseg.runs.workdir import Trained
from aeseg.spec import build, from_json, recipe, spec, to_json


def config_of(method, transforms=()):
    """A config around a method's."""
    scenes = {split: spec(Scenes, split=split, records=3, height=16, width=24) for split in SPLITS}
    data = data_config(scenes, evaluation_transforms=transforms, cache_gib=0.0, threads=1)
    config = run_config(method, data, steps=7, batch_size=2, window=(16, 16), optimiser=warm_adamw(1e-3, 7))
    return from_json(to_json(config))  # as it is stored in a workdir


def _trained(method, variables):
    run = build(config_of(method))
    return Trained(run, run.method, variables, 7)


def segmenter():
    """A convnet with a linear head."""
    head = recipe("aeseg.models.heads", "linear", "tiny")
    head.classes = len(CLASSES)
    return _untrained(spec(Segmenter, encoder=recipe("aeseg.models.encoders", "convnet", "tiny"), head=head, classes=len(CLASSES)))


def bayesian():
    """SegNet with dropout."""
    encoder, head = (recipe(f"aeseg.models.{kind}", name, "tiny") for kind, name in (("encoders", "vgg"), ("heads", "segnet")))
    encoder.dropout = head.dropout = 0.5
    head.classes = len(CLASSES)
    return _untrained(spec(Segmenter, encoder=encoder, head=head, classes=len(CLASSES)))


def autoencoder(method=None):
    """A denoising autoencoder, or that of a recipe."""
    method = method or denoising.recipe("tiny")
    batch = {"image": jnp.zeros((1, 16, 16, 3)), "valid": jnp.ones(1, bool), "index": jnp.zeros(1, jnp.int32)}
    variables = jax.jit(lambda: build(method).init(jax.random.key(0), batch, train=False))()
    return _trained(method, variables)


def seeing(trained, transforms):
    """A trained network whose run transforms the images that it scores and predicts."""
    return trained._replace(run=build(config_of(trained.run.config.method, transforms)))


def _untrained(method):
    variables = jax.jit(lambda: build(method).init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), method="predict"))()
    return _trained(method, variables)
