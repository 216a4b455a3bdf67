"""Contract of every method, encoder, decoder, head and source.  Parts are found by file name, so a new file is covered at once.

This file builds the parts and their tiny inputs, compiled once for all checks; contract_test.py has the checks.
"""

import functools
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from aeseg import keys, spec, tree
from aeseg.data.records import is_aligned
from aeseg.metrics import divide
from aeseg.types import IGNORE, UserError
from tests import jitted

PACKAGES = {
    "method": "aeseg.methods",
    "encoder": "aeseg.models.encoders",
    "decoder": "aeseg.models.decoders",
    "head": "aeseg.models.heads",
    "source": "aeseg.data.sources",
}
GOLDEN = Path(__file__).parent / "golden"
LARGE = 224
"""Size at which shapes are checked: divisible by all strides up to 32, and by patches of 14 and 16."""


class Case(NamedTuple):
    """One part built from recipe("tiny"), tiny inputs, its call, and the call and its gradient, compiled.

    `call(variables, inputs, seed, train)` and `apply(variables, inputs, seed, train)` -> (output, updated collections);
    `slope(variables, inputs, weights, seed)` -> (gradient, output, updated collections), of the loss with train=True.
    """

    module: nn.Module
    inputs: Any
    variables: dict[str, Any]
    call: Callable[..., Any]
    apply: Callable[..., Any]
    slope: Callable[..., Any]


def members(*kinds: str) -> list[tuple[str, str]]:
    """Return (kind, file name) of every part of these kinds."""
    return [(kind, name) for kind in kinds for name in spec.names(PACKAGES[kind])]


def every(*kinds: str) -> Any:
    """Run a test for every part of these kinds."""
    found = members(*kinds)
    return pytest.mark.parametrize(("kind", "name"), found, ids=[f"{kind}-{name}" for kind, name in found])


@functools.cache
def sizes(kind: str, name: str) -> tuple[str, ...]:
    """Return the sizes of a recipe, from its error for an unknown size; a method has the sizes that all its parts have."""
    with pytest.raises(UserError) as caught:
        spec.recipe(PACKAGES[kind], name, "no such size")
    listed = re.search(r"(?:it has|the sizes) ([\w, ]+)[.;]", str(caught.value))
    assert listed, f"an unknown size should list the known sizes: {caught.value}"
    return tuple(size for size in listed.group(1).split(", ") if kind != "method" or _is_offered(kind, name, size))


def _is_offered(kind: str, name: str, size: str) -> bool:
    try:
        spec.recipe(PACKAGES[kind], name, size)
    except UserError:
        return False
    return True


def built(kind: str, name: str, size: str) -> Any:
    """Return the part that a recipe builds."""
    return spec.build(spec.recipe(PACKAGES[kind], name, size))


@functools.cache
def case(kind: str, name: str) -> Case:
    """Return the part from recipe("tiny"), ready to be called."""
    module = built(kind, name, "tiny")
    inputs = tiny_inputs(kind)
    variables = dict(jitted.init(module, jax.random.key(0), inputs, train=False))

    def call(variables: Any, inputs: Any, seed: Any, train: bool) -> tuple[Any, Any]:
        if not train:
            return module.apply(variables, inputs, train=False), {}
        rngs = {name: keys.stream(jax.random.key(seed), name, 0) for name in keys.STREAMS}
        return module.apply(variables, inputs, train=True, rngs=rngs, mutable=[n for n in variables if n != "params"])

    def loss(params: Any, variables: Any, inputs: Any, weights: Any, seed: Any) -> Any:
        output, updated = call({**variables, "params": params}, inputs, seed, True)
        if kind == "method":
            return sum(c * divide(output[n].total, weights[n]) for n, c in module.coefficients.items()), (output, updated)
        return scattered_sum(output), (output, updated)

    def slope(variables: Any, inputs: Any, weights: Any, seed: Any) -> tuple[Any, Any, Any]:
        gradient, (output, updated) = jax.grad(loss, has_aux=True)(variables["params"], variables, inputs, weights, seed)
        return gradient, output, updated

    return Case(module, inputs, variables, call, jax.jit(call, static_argnums=3), jax.jit(slope))


def program(tested: Case, train: bool) -> Any:
    """Trace the call anew and return its program."""
    return jax.make_jaxpr(lambda variables, inputs: tested.call(variables, inputs, 0, train))(tested.variables, tested.inputs)


def weights(tested: Case) -> dict[str, Any]:
    """Return the denominators of the full tiny batch; {} for parts that are not methods."""
    return tested.module.denominators(tested.inputs) if hasattr(tested.module, "denominators") else {}


def tiny_inputs(kind: str) -> Any:
    """Return 16 x 16 inputs: a batch for a method, an image for an encoder, a pyramid for a decoder or head."""
    return {"method": batch, "encoder": image}.get(kind, pyramid)()


def batch(rows: int = 4) -> dict[str, jax.Array]:
    """Return the batch of a method; labels are 0, 1 and IGNORE."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, (rows, 16, 16))
    label[:, :3] = IGNORE
    return {
        "image": jnp.asarray(random.random((rows, 16, 16, 3)), jnp.float32),
        "label": jnp.asarray(label, jnp.int32),
        "depth": jnp.asarray(random.random((rows, 16, 16)), jnp.float32),
        "caption": jnp.asarray(random.integers(0, 128, (rows, 12)), jnp.uint8),
        "sound": jnp.asarray(random.normal(size=(rows, 1600, 2)), jnp.float32),
        "valid": jnp.ones((rows,), bool),
        "index": jnp.arange(rows, dtype=jnp.int32),
    }


def image() -> jax.Array:
    """Return two images in [0, 1]."""
    return batch(2)["image"]


def pyramid() -> dict[int, jax.Array]:
    """Return features of two images at strides 1, 2 and 4, of both signs."""
    random = np.random.default_rng(0)
    shapes = {stride: (2, 16 // stride, 16 // stride, 8) for stride in (1, 2, 4)}
    return {stride: jnp.asarray(random.normal(size=shape), jnp.float32) for stride, shape in shapes.items()}


def large_inputs(kind: str) -> Any:
    """Return only the shapes of LARGE x LARGE inputs; pyramids have all strides up to 32."""
    if kind not in ("method", "encoder"):
        return {2**i: jax.ShapeDtypeStruct((2, LARGE // 2**i, LARGE // 2**i, 16), jnp.float32) for i in range(6)}
    large = {
        name: jax.ShapeDtypeStruct((2, *(LARGE if side == 16 else side for side in array.shape[1:])), array.dtype)
        for name, array in batch().items()
    }
    return large if kind == "method" else large["image"]


def shapes(module: nn.Module, inputs: Any) -> tuple[dict[str, Any], Any]:
    """Return the shapes of (variables, output in evaluation), without computing them."""
    output, variables = jax.eval_shape(lambda inputs: module.init_with_output(jax.random.key(0), inputs, train=False), inputs)
    return dict(variables), output


def training_shapes(module: nn.Module, variables: dict[str, Any], inputs: Any) -> Any:
    """Return the shapes of the output in training."""

    def call(variables: Any, inputs: Any) -> Any:
        rngs = {name: jax.random.key(1) for name in keys.STREAMS}
        return module.apply(variables, inputs, train=True, rngs=rngs, mutable=[n for n in variables if n != "params"])[0]

    return jax.eval_shape(call, variables, inputs)


@functools.cache
def traced(kind: str, name: str, size: str) -> tuple[dict[str, Any], Any]:
    """Return the shapes of a part at a size of its recipe, on inputs of that size."""
    return shapes(built(kind, name, size), tiny_inputs(kind) if size == "tiny" else large_inputs(kind))


@functools.cache
def pyramid_of(encoder: str) -> dict[int, jax.ShapeDtypeStruct]:
    """Return the shapes of the features of an encoder of recipe("tiny") for two images of 32 x 64."""
    image = jax.ShapeDtypeStruct((2, 32, 64, 3), jnp.float32)
    return shapes(built("encoder", encoder, "tiny"), image)[1]


@functools.cache
def refused(head: str) -> set[str]:
    """Return the encoders that a head of recipe("tiny") refuses; assert its output for the others, and its messages."""
    return {name for _, name in members("encoder") if not _reads(head, pyramid_of(name))}


def _reads(head: str, pyramid: dict[int, jax.ShapeDtypeStruct]) -> bool:
    described = spec.recipe(PACKAGES["head"], head, "tiny")
    if "stride" in described:
        described.stride = max(pyramid)
    if described.get("strides"):
        described.strides = tuple(pyramid)
    if "deep_supervision" in described and len(pyramid) < 3:
        described.deep_supervision = 0
    reader = spec.build(described)
    try:
        variables, logits = shapes(reader, pyramid)
    except UserError as error:
        if not re.search(r"Head joins features whose strides double .*; the encoder gives .* Take such an encoder", str(error)):
            raise
        return False
    for output in (logits, training_shapes(reader, variables, pyramid)):
        for stride, scores in output.items():
            assert scores.shape == (2, 32 // stride, 64 // stride, described.classes)
    return True


def scattered_sum(output: Any) -> Any:
    """Sum the output with fixed random weights of both signs, so that no gradient cancels."""
    random = np.random.default_rng(1)
    return sum(jnp.sum(leaf * jnp.asarray(random.normal(size=leaf.shape), jnp.float32)) for leaf in jax.tree.leaves(output))


def assert_close(left: Any, right: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Assert that two trees have the same numbers, up to rounding; the message names the leaf."""
    left, right = tree.flatten(left), tree.flatten(right)
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_allclose(left[name], right[name], rtol, atol, err_msg=name)


def assert_equal(left: Any, right: Any) -> None:
    """Assert that two trees are equal bit by bit."""
    assert_close(left, right, rtol=0, atol=0)


def assert_golden(name: str, text: str, meaning: str) -> None:
    """Assert that the text equals tests/golden/<name>; AESEG_GOLDEN=write writes the file only if it is missing."""
    path = GOLDEN / name
    again = "run `AESEG_GOLDEN=write ./launch.sh test tests/contract_test.py` and commit what it writes."
    if not path.exists():
        assert os.environ.get("AESEG_GOLDEN") == "write", f"{path} is missing: a new part needs its golden file; {again}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{meaning} If this is intended, remove {path}, {again}"


def check_source(source: Any) -> None:
    """Check the contract of a source's records; the test of a source that reads files calls this on files that it makes."""
    again = pickle.loads(pickle.dumps(source))  # worker processes get copies
    assert len(again) == len(source) > 0
    for index in {0, len(source) // 2, len(source) - 1}:
        record = source[index]
        _check_record(record, source.classes)
        for other in (source[np.int64(index)], again[index]):
            assert other.keys() == record.keys()
            for field in record:
                np.testing.assert_array_equal(other[field], record[field], err_msg=f"{field}: the same index, another record")
    for beyond in (len(source), -1):
        with pytest.raises(IndexError):
            source[beyond]


def _check_record(record: dict[str, Any], classes: tuple[Any, ...]) -> None:
    assert isinstance(record["name"], str)
    assert record["image"].dtype in (np.uint8, np.uint16)
    assert record["image"].ndim == 3
    assert ("label" in record) == bool(classes), "labels and classes come together"
    size = record["image"].shape[:2]
    if "label" in record:
        assert record["label"].dtype == np.uint8
        assert record["label"].shape == size
        assert set(np.unique(record["label"]).tolist()) <= {*range(len(classes)), IGNORE}
        assert len({entry.name for entry in classes}) == len(classes)
    for field, value in record.items():
        if is_aligned(field, value):
            assert value.shape[:2] == size, field
            assert value.dtype in (np.uint8, np.uint16, np.float32), field
