"""aeseg/training/plan.py: what a compiled step needs, and that cut parameters cut no image's features."""

import importlib.util

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from aeseg import spec
from aeseg.metrics import Mean
from aeseg.training import mesh as meshes
from aeseg.training import plan
from aeseg.training.optimiser import adamw
from aeseg.types import UserError
from experiments.console import cli

HAS_LIBTPU = importlib.util.find_spec("libtpu") is not None
IMAGE = {"image": jax.ShapeDtypeStruct((16, 8, 8, 3), jnp.uint8)}


class Layer(nn.Module):
    @nn.compact
    def __call__(self, features, _):
        return features + nn.Dense(64, name="contract")(nn.gelu(nn.Dense(256, name="expand")(features))), None


class Stack(nn.Module):
    """A method with three layers under one scan, as transformers have them."""

    coefficients = {"error": 1.0}  # noqa: RUF012

    @nn.compact
    def __call__(self, batch, *, train):
        image = batch["image"]
        features = nn.Dense(64, name="patches")(image.reshape(len(image), 4, -1))
        scanned = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        features, _ = scanned(name="blocks")(features, None)
        return {"error": Mean(jnp.sum(jnp.square(features)), self.denominators(batch)["error"])}

    def denominators(self, batch):
        return {"error": jnp.float32(len(batch["valid"]))}


def needs(fsdp):
    return plan.step_needs(Stack(), adamw(1e-3, steps=10), meshes.create(fsdp), IMAGE)


def test_a_device_holds_its_part_of_the_state():
    whole, part = needs(1), needs(8)
    state = 3 * 4 * (48 * 64 + 64 + 3 * (64 * 256 + 256 + 256 * 64 + 64))  # parameters and Adam's two moments, float32
    rows = 2 * 8 * 8 * 3
    counters = 64  # of steps, at most
    assert state + rows <= whole.arguments < state + rows + counters
    assert state / 8 + rows <= part.arguments < state / 8 + rows + counters
    assert part.bytes >= part.arguments + part.temporaries > part.arguments


def test_what_is_gathered_is_parameters_and_no_features():
    found = needs(8)
    assert found.collectives["all-gather"] > 0
    assert [shape for shape in found.gathered if 16 in shape] == [], "the rows of the whole batch on every device"
    assert (64, 256) in found.gathered


@pytest.mark.skipif(HAS_LIBTPU, reason="libtpu is installed")
def test_without_libtpu_there_are_no_chips_to_plan_for():
    with pytest.raises(UserError, match=r"libtpu cannot describe the TPU slice 'v5e:4x4' .*Install jax\[tpu\]"):
        plan.tpu_devices("v5e:4x4")


@pytest.mark.skipif(not HAS_LIBTPU, reason="libtpu is not installed: pip install 'jax[tpu]' in an environment of its own")
def test_a_step_compiles_for_a_slice_of_tpus():
    mesh = meshes.create(16, plan.tpu_devices("v5e:4x4"))
    found = plan.step_needs(Stack(), adamw(1e-3, steps=10), mesh, IMAGE)
    assert found.bytes < 2**30
    assert [shape for shape in found.gathered if shape[0] == 16 and shape[-1] in (64, 256)] == [], "features of the whole batch"


def test_the_papers_mae_step_compiles_for_eight_devices():
    """ViT-B, 224 px, 32 images a device: the paper's 4096 over its 128 chips."""
    config = cli.load_config("mae:b16")
    images = {"image": jax.ShapeDtypeStruct((8 * 32, 224, 224, 3), jnp.uint8)}
    found = plan.step_needs(spec.build(config.method), spec.build(config.optimiser), meshes.create(8), images)
    assert found.bytes < 16 * 2**30
    assert (768, 3072) in found.gathered, "a layer's parameters"
    assert [shape for shape in found.gathered if 8 * 32 in shape] == []
