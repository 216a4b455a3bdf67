"""Untrained networks, as `workdir.load_trained` returns them, for scenes of 16x24 and windows of 16x16."""

import jax
import jax.numpy as jnp

from aeseg.data.sources.scenes import CLASSES, Scenes
from aeseg.methods import denoising
from aeseg.methods.segmenter import Segmenter
from aeseg.runs import workdir as workdirs
from aeseg.runs.configs import data_config, run_config, warm_adamw
from aeseg.runs.data import SPLITS
from aeseg.runs.workdir import Trained
from aeseg.spec import build, from_json, recipe, spec, to_json
from experiments.console import cli
from experiments.machine import process


def config_of(method, transforms=()):
    """Return a run's config with this method."""
    scenes = {split: spec(Scenes, split=split, records=3, height=16, width=24) for split in SPLITS}
    data = data_config(scenes, evaluation_transforms=transforms, cache_gib=0.0, threads=1)
    config = run_config(method, data, steps=7, batch_size=2, window=(16, 16), optimiser=warm_adamw(1e-3, 7))
    return from_json(to_json(config))  # as stored in a workdir


def _trained(method, variables):
    run = build(config_of(method))
    return Trained(run, run.method, variables, 7)


def called(monkeypatch, command, trained, *flags):
    """Run a command on a network in place of the workdir's; return the exit code."""
    monkeypatch.setattr(workdirs, "load_trained", lambda workdir, step: trained)
    monkeypatch.setattr(process, "start", lambda: None)
    return cli.guarded(command.run, ["program", *flags])


def segmenter():
    """Return a convnet with a linear head."""
    head = recipe("aeseg.models.heads", "linear", "tiny")
    head.classes = len(CLASSES)
    return _untrained(spec(Segmenter, encoder=recipe("aeseg.models.encoders", "convnet", "tiny"), head=head, classes=len(CLASSES)))


def bayesian():
    """Return a SegNet with dropout."""
    encoder, head = (recipe(f"aeseg.models.{kind}", name, "tiny") for kind, name in (("encoders", "vgg"), ("heads", "segnet")))
    encoder.dropout = head.dropout = 0.5
    head.classes = len(CLASSES)
    return _untrained(spec(Segmenter, encoder=encoder, head=head, classes=len(CLASSES)))


def fusion():
    """Return a network that reads images and depth."""
    method = recipe("aeseg.methods", "fusion", "tiny")
    method.modalities, method.classes = method.modalities[:2], len(CLASSES)
    return _untrained(method)


def autoencoder(method=None):
    """Return a denoising autoencoder, or the autoencoder of a recipe."""
    method = method or denoising.recipe("tiny")
    batch = {"image": jnp.zeros((1, 16, 16, 3)), "valid": jnp.ones(1, bool), "index": jnp.zeros(1, jnp.int32)}
    variables = jax.jit(lambda: build(method).init(jax.random.key(0), batch, train=False))()
    return _trained(method, variables)


def seeing(trained, transforms):
    """Return the network with transforms of the images that it scores and predicts."""
    return trained._replace(run=build(config_of(trained.run.config.method, transforms)))


def _untrained(method):
    variables = jax.jit(lambda: build(method).init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), method="predict"))()
    return _trained(method, variables)
