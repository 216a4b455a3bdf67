"""The contract of every method, encoder, decoder, head and source (tests/contract.py finds them by file name)."""

import contextlib
import inspect
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from aeseg import spec, tree
from aeseg.metrics import Mean
from aeseg.training import mesh, state, step
from aeseg.types import IGNORE, UserError
from tests import contract, lanes
from tests.contract import (
    GOLDEN,
    LARGE,
    PACKAGES,
    assert_close,
    assert_equal,
    assert_golden,
    batch,
    built,
    case,
    check_source,
    every,
    large_inputs,
    members,
    program,
    pyramid_of,
    refused,
    shapes,
    sizes,
    tiny_inputs,
    traced,
    training_shapes,
    weights,
)

MODELS = ("encoder", "decoder", "head")
NETWORKS = ("method", *MODELS)
OPTIMISED = ("masked", "reconstruction", "segmenter")
"""Methods whose golden losses are those of users' programs: a transformer, a convolutional network, and one with a pyramid."""


@every(*PACKAGES)
def test_every_size_of_its_recipe_survives_json(kind, name):
    assert {"tiny", "small"} <= set(sizes(kind, name))
    for size in sizes(kind, name):
        described = spec.recipe(PACKAGES[kind], name, size)
        assert isinstance(described, ConfigDict)
        assert described.target.startswith("aeseg.")
        again = spec.from_json(spec.to_json(described))
        assert spec.differences(described, again) == []
        json.loads(spec.to_json(described), parse_constant=pytest.fail)  # NaN and Infinity are not JSON
        if kind in NETWORKS:
            assert spec.build(again) == spec.build(described)


@every(*PACKAGES)
def test_its_docstring_names_its_source(kind, name):
    part = spec.module(PACKAGES[kind], name)
    assert part.__doc__, "a file needs a docstring"
    assert part.recipe.__doc__
    described = spec.recipe(PACKAGES[kind], name)
    factory = getattr(part, described.target.split(":")[1])
    assert inspect.getdoc(factory)


@every(*NETWORKS)
def test_shapes_at_every_size_of_its_recipe(kind, name):
    for size in sizes(kind, name):
        if size == "tiny":
            continue
        module = built(kind, name, size)
        variables, output = traced(kind, name, size)
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables)), "parameters are float32"
        check_shapes(kind, module, output)
        if size in ("small", sizes(kind, name)[-1]):
            check_shapes(kind, module, training_shapes(module, variables, large_inputs(kind)))


def check_shapes(kind, module, output):
    """Check the output of a kind of part."""
    if kind == "method":
        assert output
        for name, mean in output.items():
            assert isinstance(mean, Mean), name
            assert mean.total.dtype == jnp.float32, name
            assert mean.total.shape == () or hasattr(module, "summary"), f"{name}: an array needs a `summary` that turns it into numbers"
            assert (mean.weight.shape, mean.weight.dtype) == ((), jnp.float32), name
    elif kind == "decoder":
        assert output.shape == (2, LARGE, LARGE, module.channels)
    else:
        assert output
        for stride, features in output.items():
            assert features.shape[:3] == (2, LARGE // stride, LARGE // stride)
        if kind == "head":
            assert {features.shape[3] for features in output.values()} == {module.classes}


@every(*MODELS)
def test_activations_take_its_dtype_and_parameters_stay_float32(kind, name):
    described = spec.recipe(PACKAGES[kind], name, "tiny")
    described.dtype = "bfloat16"
    module, inputs = spec.build(described), tiny_inputs(kind)
    variables, _ = shapes(module, inputs)
    output = training_shapes(module, variables, inputs)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(output)} == {"bfloat16"}


@every(*NETWORKS)
def test_tracing_it_again_gives_the_same_program(kind, name):
    """A call depends on its arguments alone: no state of Python, and no draw of numpy is left in a program."""
    tested = case(kind, name)
    for train in (False, True):
        first, again = (program(tested, train) for _ in range(2))
        assert str(first.jaxpr) == str(again.jaxpr)
        assert_equal(dict(enumerate(first.consts)), dict(enumerate(again.consts)))


@every(*NETWORKS)
def test_evaluation_needs_no_key_and_changes_no_variable(kind, name):
    tested = case(kind, name)
    first = tested.apply(tested.variables, tested.inputs, 0, False)
    assert_equal(first, tested.apply(tested.variables, tested.inputs, 1, False))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(first))


@every(*NETWORKS)
def test_the_same_key_gives_the_same_numbers(kind, name):
    tested = case(kind, name)
    first, again = (tested.slope(tested.variables, tested.inputs, weights(tested), 7) for _ in range(2))
    assert_equal(first, again)


@every(*NETWORKS)
def test_every_parameter_gets_a_gradient(kind, name):
    tested = case(kind, name)
    gradient, _, _ = tested.slope(tested.variables, tested.inputs, weights(tested), 0)
    without = [path for path, leaf in tree.flatten(gradient).items() if not np.any(leaf)]
    assert without == [], "these parameters do nothing"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@every(*MODELS)
def test_in_evaluation_the_rows_of_a_batch_are_independent(kind, name):
    tested = case(kind, name)
    other = jax.tree.map(lambda array: array.at[1].set(1 - array[1]), tested.inputs)
    first, _ = tested.apply(tested.variables, tested.inputs, 0, False)
    second, _ = tested.apply(tested.variables, other, 0, False)
    assert_close(*[jax.tree.map(lambda array: array[0], output) for output in (first, second)])
    assert any(np.any(a[1] != b[1]) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))


@every(*NETWORKS)
def test_parameters_equal_the_golden_file(kind, name):
    lines = []
    for size in sizes(kind, name):
        variables, _ = traced(kind, name, size)
        lines.append(f"[{size}] {tree.count(variables.get('params', {})):,} parameters")
        if size == "small":
            flat = tree.flatten(variables)
            lines += [f"{path} {'x'.join(map(str, flat[path].shape))}" for path in sorted(flat)]
    if kind == "head":
        lines.append(f"[encoders] {'those of several strides' if refused(name) else 'all'}")
    assert_golden(
        f"{kind}_{name}.txt",
        "\n".join(lines) + "\n",
        f"The parameters of {kind} {name} have other paths, shapes or counts than before: checkpoints of earlier runs no longer "
        "fit, and published numbers no longer describe this code.",
    )


@every("method")
def test_denominators_are_the_weights_of_the_means(kind, name):
    tested = case(kind, name)
    images = jnp.zeros_like(tested.inputs["image"])  # labels, shapes and valid must be enough
    known = tested.module.denominators({**tested.inputs, "image": images})
    for train in (False, True):
        means, _ = tested.apply(tested.variables, tested.inputs, 0, train)
        assert means.keys() <= known.keys()
        assert train or means.keys() == known.keys()
        for term, mean in means.items():
            assert known[term].dtype == jnp.float32
            np.testing.assert_array_equal(known[term], mean.weight, err_msg=term)
    assert set(tested.module.coefficients) <= set(known)


@every("method")
def test_padding_rows_have_no_weight(kind, name):
    """A row with valid=False changes no Mean, gradient or statistic, whatever its values."""
    tested = case(kind, name)
    padded = {**tested.inputs, "valid": jnp.array([True, True, True, False])}
    other = {**padded, "image": padded["image"].at[3].set(0.9), "label": padded["label"].at[3].set(1)}
    assert_equal(tested.apply(tested.variables, padded, 0, False), tested.apply(tested.variables, other, 0, False))
    assert_equal(tested.module.denominators(padded), tested.module.denominators(other))
    first, second = (tested.slope(tested.variables, inputs, tested.module.denominators(padded), 0) for inputs in (padded, other))
    if "batch_stats" not in tested.variables:  # batch norm is over all rows; the train loader never pads
        assert_equal(first, second)
    nothing = {**tested.inputs, "valid": jnp.zeros((4,), bool)}
    means, _ = tested.apply(tested.variables, nothing, 0, False)
    assert not any(np.any(mean.total) or mean.weight for mean in means.values())
    gradient, _, _ = tested.slope(tested.variables, nothing, tested.module.denominators(nothing), 0)
    assert all(np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves(gradient))


@every("method")
def test_microbatches_change_nothing(kind, name):
    tested = case(kind, name)
    uneven = {**tested.inputs, "label": tested.inputs["label"].at[0].set(IGNORE)}  # the halves have different weights
    order = [jnp.array(rows) for rows in ((0, 1, 2, 3), (2, 3, 0, 1))]  # two rows each, padded: one program for whole and halves
    halves = [{field: array[rows] for field, array in uneven.items()} | {"valid": jnp.arange(4) < 2} for rows in order]
    whole, _ = tested.apply(tested.variables, uneven, 0, False)
    first, second = (tested.apply(tested.variables, half, 0, False)[0] for half in halves)
    assert_close(whole, step.add(first, second), atol=1e-5)
    if "batch_stats" in tested.variables:
        return  # batch norm sees one microbatch at a time
    total = tested.module.denominators(uneven)
    gradient, _, _ = tested.slope(tested.variables, uneven, total, 0)
    first, second = (tested.slope(tested.variables, half, total, 0)[0] for half in halves)
    assert_close(gradient, jax.tree.map(jnp.add, first, second), rtol=1e-4, atol=1e-5)


@every("method")
def test_a_train_step_equals_the_golden_file(kind, name):
    method, optimiser = built(kind, name, "tiny"), optax.sgd(0.1)
    one = mesh.create()
    now = state.create(method, optimiser, batch(), 0, False, one)
    train = step.train_step(method, optimiser, one, microbatches=1, seed=0, ema=0.0)
    losses = []
    with lanes.optimised() if name in OPTIMISED else contextlib.nullcontext():
        for _ in range(3):
            now, terms = train(now, mesh.place(one, {field: np.asarray(array) for field, array in batch().items()}))
            losses.append(float(terms["loss"].value()))
    path = GOLDEN / f"losses_{name}.json"
    if path.exists() and np.allclose(json.loads(path.read_text()), losses, rtol=1e-5, atol=1e-6):
        return  # equal up to the rounding of other versions of XLA
    assert_golden(
        path.name,
        json.dumps(losses) + "\n",
        f"Three training steps of {name} have the losses {losses}; they were others. The initialisation, the random streams, the "
        "objective or its gradient has changed, and with it every published number.",
    )


@every("method")
def test_pictures_are_images_or_label_maps(kind, name):
    tested = case(kind, name)
    shown = jax.eval_shape(lambda variables: tested.module.apply(variables, tested.inputs, method="show"), tested.variables)
    assert next(iter(shown)) == "image"
    for array in shown.values():
        colours = array.ndim == 4 and array.dtype == jnp.float32 and array.shape[3] in (1, 3)
        assert array.shape[:3] == (4, 16, 16)
        assert colours or (array.ndim == 3 and jnp.issubdtype(array.dtype, jnp.integer))


@every("source")
def test_records_of_a_source(kind, name):
    """A source without its files raises one sentence, and its own test runs `contract.check_source` on files that it makes."""
    try:
        source = built(kind, name, "tiny")
    except UserError:
        own = Path(__file__).parent / "data" / "sources" / f"{name}_test.py"
        assert "check_source(" in own.read_text(), f"{own} must run contract.check_source on records it makes"
        return
    check_source(source)


def test_an_unknown_name_lists_the_files_that_exist():
    for kind, package in PACKAGES.items():
        found = [name for other, name in members(kind)]
        with pytest.raises(UserError, match="nothing_like_it.*it has .*" + ".*".join(found)):
            spec.recipe(package, "nothing_like_it")


def test_every_golden_file_belongs_to_a_part():
    known = {f"{kind}_{name}.txt" for kind, name in members(*NETWORKS)}
    left = {path.name for path in GOLDEN.glob("*.txt") if path.name.split("_")[0] in NETWORKS}
    assert left <= known


@every("head")
def test_a_head_reads_every_encoder_or_every_encoder_with_several_strides(kind, name):
    """Only a head that joins strides may refuse encoders: all encoders with one stride, in one sentence, as in its golden file."""
    single = {encoder for _, encoder in members("encoder") if len(pyramid_of(encoder)) == 1}
    assert single
    assert refused(name) in (set(), single)


def test_an_existing_golden_file_is_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.setattr(contract, "GOLDEN", tmp_path)
    with pytest.raises(AssertionError, match=r"new\.txt is missing: a new part needs its golden file"):
        assert_golden("new.txt", "2", "It changed.")
    monkeypatch.setenv("AESEG_GOLDEN", "write")
    assert_golden("new.txt", "2", "It changed.")
    assert (tmp_path / "new.txt").read_text() == "2"
    with pytest.raises(AssertionError, match=r"It changed\. If this is intended, remove .*new\.txt"):
        assert_golden("new.txt", "3", "It changed.")
    assert (tmp_path / "new.txt").read_text() == "2"
