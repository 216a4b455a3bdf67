"""Invented foreign models: a small family (toys/toy.py), found like the real families, and directories of it."""

import importlib
from pathlib import Path

import jax
import numpy as np

from aeseg import tree
from aeseg.importers import families, files
from aeseg.importers.rules import to_foreign

WIDTHS = (4, 8)
CONFIGS = {
    "encoder": {"architectures": ["ToyModel"], "widths": WIDTHS, "image_size": 16},
    "autoencoder": {"architectures": ["ToyForReconstruction"], "widths": WIDTHS, "image_size": [16, 32]},
    "segmenter": {"architectures": ["ToyForSegmentation"], "widths": WIDTHS, "image_size": 16, "labels": 8},
}


def find_toys(monkeypatch):
    """Let the package of importers also find the family of toys."""
    package = importlib.import_module(families.PACKAGE)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(Path(__file__).parent / "toys")])


def random_variables(shapes, seed=0):
    """Fill every leaf with positive random numbers; some leaves are variances."""
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: random.uniform(0.1, 1, leaf.shape).astype(leaf.dtype), shapes)


def toy_directory(directory, kind, **more):
    """Write a directory with a toy of random weights and a config changed by `more`; return (path, tensors)."""
    config = {**CONFIGS[kind], **more}
    toy = families.families()["toy"]
    described = toy.spec_of(config)
    variables = random_variables(families.shapes(described, families.image_size(config), 3))
    tensors = to_foreign(toy.rules(described), variables)
    files.write(str(directory), config, tensors, {})
    return str(directory), tensors


def same(left, right):
    """Return whether two trees have the same leaves, bit for bit."""
    left, right = tree.flatten(left), tree.flatten(right)
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)
