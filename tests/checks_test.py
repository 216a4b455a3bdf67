"""aeseg/checks.py: absurd arguments are refused in one sentence, valid arguments pass, and memory is compared before allocation."""

import importlib
import math

import jax
import jax.numpy as jnp
import pytest

from aeseg import checks, spec
from aeseg.data import transforms
from aeseg.methods.denoising import Denoising
from aeseg.models.encoders.convnet import ConvNet
from aeseg.models.encoders.vit import ViT
from aeseg.runs.data import Data
from aeseg.runs.run import Run
from aeseg.training.optimiser import adamw
from aeseg.types import UserError
from tests.contract import PACKAGES

ABSURD = (
    (Run, "batch_size", (2**40, 0, -8, 8.5, "8", True, None, (), {})),
    (Run, "steps", (2**70, -1, 1.5, "many", [3])),
    (Run, "window", ((0, 0), (-4, 8), (4.5, 8), (10**9, 8), (8,), (8, 8, 8), "ab", 8, (True, 8))),
    (Run, "ema", (math.nan, math.inf, "0", None)),
    (Data, "threads", (2000, -1, 2.0)),
    (Data, "cache_gib", (math.inf, math.nan, -1, "1", 1e30)),
    (Data, "fraction", (-0.5, 1.5, math.nan)),
    (Data, "transforms", ((1, 2), ("crop",), 3)),
    (ConvNet, "widths", ((0,), (-4, 8), (4.5, 8), ("a",), 8, (10**9,), ((8,), 8), None)),
    (ConvNet, "bottleneck", (-1, 1.5, True)),
    (ConvNet, "std", ((-1.0,), (0.0,), (math.nan,), "x")),
    (ViT, "heads", (0, -1, 10**9)),
    (ViT, "patch", (0, 10**9)),
    (transforms.RandomCrop, "height", (10**9, 0, -3, "8")),
    (Denoising, "encoder", (5, "x", None, {"depth": 3})),
    (adamw, "learning_rate", (math.nan, math.inf, -1.0, "1e-3")),
    (adamw, "freeze", (("encoder/*", 3), "encoder/*", 5)),
)


@pytest.mark.parametrize(("factory", "name", "values"), ABSURD, ids=lambda value: getattr(value, "__name__", None))
def test_absurd_arguments_are_refused_by_name(factory, name, values):
    for value in values:
        with pytest.raises(UserError, match=rf"{factory.__name__}\.{name} (must be|holds)"):
            checks.check_arguments(factory, {name: value})


def test_a_message_has_the_expected_value_the_given_value_and_the_remedy():
    with pytest.raises(UserError) as error:
        checks.check_arguments(ConvNet, {"widths": (4.5, 8)})
    assert str(error.value) == "ConvNet.widths must be tuple[int, ...]; got (4.5, 8). Set it in the config, or with its flag."
    with pytest.raises(UserError, match=r"Data.threads must be from 0 to 256; got 2000\."):
        checks.check_arguments(Data, {"threads": 2000})
    with pytest.raises(UserError) as error:
        checks.check_arguments(ConvNet, {"dtype": ["\x1b[31m\n" * 1000]})
    assert len(str(error.value)) < 250
    assert str(error.value).isprintable()


def test_a_mean_of_two_channels_with_a_std_of_three_is_refused():
    with pytest.raises(UserError, match="ViT has a mean of 2 numbers and a std of 3"):
        checks.check_arguments(ViT, {"mean": (0.5, 0.5), "std": (0.2, 0.2, 0.2)})
    checks.check_arguments(ViT, {"mean": (0.5,), "std": (0.2, 0.2, 0.2)})


def every_description():
    """Every config of every recipe of every size, at any depth."""

    def inside(node):
        if isinstance(node, list):
            for item in node:
                yield from inside(item)
        elif isinstance(node, dict):
            if "target" in node:
                yield node
            for value in node.values():
                yield from inside(value)

    for package in PACKAGES.values():
        for name in spec.names(package):
            module = importlib.import_module(f"{package}.{name}")
            for size in ("tiny", "small", "base", "large"):
                try:
                    recipe = module.recipe(size) if hasattr(module, "recipe") else None
                except (UserError, TypeError):  # not every recipe has every size; sources and heads need arguments
                    continue
                yield from inside(spec.plain(recipe))


def test_every_recipe_passes():
    descriptions = list(every_description())
    assert len(descriptions) > 50
    for node in descriptions:
        factory = spec.resolve(node["target"])
        checks.check_arguments(factory, {name: spec.build(value) for name, value in node.items() if name != "target"})


def test_memory_is_compared_before_anything_is_allocated():
    """A network of 10^6 by 10^6 features is traced in milliseconds and never allocated."""
    method = spec.build(spec.spec(ConvNet, widths=(10**6, 10**6)))
    image = jnp.zeros((1, 16, 16, 3))
    shapes = jax.eval_shape(lambda: method.init(jax.random.key(0), image, train=False))
    needed = checks.state_bytes(shapes)
    assert 36e12 < needed < 37e12  # mostly 3 x 3 x 10^6 x 10^6 float32
    with pytest.raises(UserError, match=r"The network needs at least 36 TB; this machine has 24 GB\. Lower the widths\."):
        checks.check_memory(needed, "The network", "Lower the widths.", available=24e9)
    checks.check_memory(1e9, "The network", "Lower the widths.", available=24e9)
    with pytest.raises(UserError, match="needs at least 36 TB; this machine has"):
        checks.check_memory(needed, "The network", "Lower the widths.")


def test_the_memory_of_the_machine_is_found():
    assert 1e8 < checks.available_bytes() < 1e14
    assert [checks.size(number) for number in (5, 1500, 36e12, 24e9, 1e30)] == ["5 B", "1.5 kB", "36 TB", "24 GB", "1e+15 PB"]
