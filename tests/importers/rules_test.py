"""aeseg/importers/rules.py: each foreign tensor is imported and exported once."""

import jax
import numpy as np
import pytest

from aeseg.importers.rules import FORMS, Buffer, Form, Rule, from_foreign, to_foreign
from aeseg.types import UserError

RULES = (
    Rule("embeddings.cls_token", "params/encoder/class_token", "row"),
    Rule("embeddings.projection.weight", "params/encoder/patches/kernel", "convolution"),
    Rule("layer.{i}.query.weight", "params/encoder/blocks/query/kernel", "linear"),
    Rule("layer.{i}.query.bias", "params/encoder/blocks/query/bias"),
    Rule("stages.{i}.layers.{j}.grn.weight", "params/encoder/stage{i}/blocks/scale", "channels"),
    Rule("stages.{i}.down.{i}.weight", "params/encoder/stage{i}/down/kernel", "pointwise"),
    Rule("norm.running_mean", "batch_stats/encoder/norm/mean"),
    Rule("up.weight", "params/head/up/kernel", "up_convolution"),
    Rule("table", "params/head/table", Form(lambda table: table.reshape(2, 3), lambda table: table.reshape(6))),
    Buffer("norm.num_batches_tracked", np.zeros((), np.int64)),
)


def foreign() -> dict[str, np.ndarray]:
    """Return tensors for every rule, in an order that sorts wrongly as text (layer.10 before layer.2)."""
    draw = np.random.default_rng(0)
    shapes = {
        "embeddings.cls_token": (1, 1, 4),
        "embeddings.projection.weight": (4, 3, 2, 2),
        **{f"layer.{i}.query.weight": (5, 4) for i in reversed(range(11))},
        **{f"layer.{i}.query.bias": (5,) for i in range(11)},
        **{f"stages.{i}.layers.{j}.grn.weight": (1, 1, 1, 4 + i) for i in range(2) for j in range(3 - i)},
        **{f"stages.{i}.down.{i}.weight": (6, 4, 1, 1) for i in range(2)},
        "norm.running_mean": (4,),
        "up.weight": (4, 2, 3, 3),
        "table": (6,),
    }
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def shapes() -> dict:
    return jax.eval_shape(lambda: from_foreign(RULES, foreign()))


def test_tensors_go_where_the_rules_say():
    tensors = foreign()
    params = from_foreign(RULES, tensors)["params"]
    np.testing.assert_array_equal(params["encoder"]["patches"]["kernel"][1, 0, 2, 3], tensors["embeddings.projection.weight"][3, 2, 1, 0])
    np.testing.assert_array_equal(params["encoder"]["blocks"]["query"]["kernel"][10], tensors["layer.10.query.weight"].T)
    np.testing.assert_array_equal(params["encoder"]["stage1"]["blocks"]["scale"][1], tensors["stages.1.layers.1.grn.weight"].ravel())
    np.testing.assert_array_equal(params["encoder"]["stage0"]["down"]["kernel"][1, 2], tensors["stages.0.down.0.weight"][2, 1, 0, 0])
    np.testing.assert_array_equal(params["head"]["up"]["kernel"][1, 0, 2, 1], tensors["up.weight"][2, 1, 1, 0])
    assert params["encoder"]["class_token"].shape == (1, 4)


def test_the_round_trip_is_exact_and_contiguous_and_adds_the_buffers():
    tensors = foreign()
    back = to_foreign(RULES, from_foreign(RULES, tensors, shapes()))
    assert back.keys() == tensors.keys() | {"norm.num_batches_tracked"}
    for name, array in tensors.items():
        np.testing.assert_array_equal(back[name], array)
    assert all(array.flags.c_contiguous for array in back.values())
    again = to_foreign(RULES, from_foreign(RULES, back, shapes()))
    assert all(np.array_equal(again[name], back[name]) for name in back)


@pytest.mark.parametrize("name", FORMS)
def test_a_transformation_has_an_inverse(name):
    array = np.arange(24.0).reshape(
        {"channels": (1, 1, 1, 24), "pointwise": (4, 6, 1, 1), "linear": (4, 6), "row": (1, 24)}.get(name, (2, 1, 3, 4))
    )
    np.testing.assert_array_equal(FORMS[name].back(FORMS[name].into(array)), array)


def test_tensors_that_do_not_fit_are_listed_with_their_shapes():
    tensors = foreign()
    del tensors["layer.10.query.bias"], tensors["up.weight"]
    tensors |= {"head.weight": np.zeros((2, 3)), "table": np.zeros(7), "position_ids": np.zeros(3)}
    with pytest.raises(UserError) as error:
        from_foreign(RULES, tensors, shapes(), ignored=("*position_ids",))
    assert str(error.value) == (
        "The tensors do not fit the rules of the model.\n"
        "Missing:\n  layer.10.query.bias (5,)\n  up.weight (4, 2, 3, 3)\n"
        "Unexpected:\n  head.weight (2, 3)\n"
        "Wrong shape:\n  table: expected (6,), got (7,)\n"
        "Use weights of the model that the config describes; `ignored` lists tensors to leave out."
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.pop("up.weight"), "Missing:\n  up.weight (for params/head/up/kernel)"),
        (lambda t: t.pop("layer.3.query.bias"), "Missing:\n  layer.3.query.bias"),
        (lambda t: t.update(more=np.zeros(3)), "Unexpected:\n  more (3,)"),
        (lambda t: t.update({"layer.3.query.bias": np.zeros(4)}), "layer.3.query.bias: (4,)"),
        (lambda t: t.update({"embeddings.cls_token": np.zeros((2, 4))}), "embeddings.cls_token: (2, 4) does not fit the layout 'row'"),
        (lambda t: t.update({f"more{i}": np.zeros(3) for i in range(20)}), "and 8 more"),
    ],
)
def test_without_the_model_only_the_rules_are_checked(change, text):
    tensors = foreign()
    change(tensors)
    with pytest.raises(UserError) as error:
        from_foreign(RULES, tensors)
    assert text in str(error.value)


def test_a_leaf_without_a_rule_and_a_rule_without_a_leaf_are_errors():
    variables = from_foreign(RULES, foreign())
    variables["params"]["head"]["more"] = np.zeros(2)
    with pytest.raises(UserError, match=r"Unexpected:\n  params/head/more \(2,\)"):
        to_foreign(RULES, variables)
    del variables["params"]["head"]["more"], variables["params"]["head"]["table"]
    with pytest.raises(UserError, match=r"Missing:\n  params/head/table \(for table\)"):
        to_foreign(RULES, variables)


def test_rules_that_contradict_one_another_are_refused():
    tensors = {"a.0": np.zeros(2), "a.1": np.zeros(2)}
    with pytest.raises(ValueError, match=r"Two rules take a.0"):
        from_foreign([Rule("a.{i}", "params/a{i}"), Rule("a.0", "params/b")], tensors)
    with pytest.raises(ValueError, match="Two rules give params/a"):
        from_foreign([Rule("a.0", "params/a"), Rule("a.1", "params/a")], tensors)
    with pytest.raises(ValueError, match="has no other"):
        from_foreign([Rule("a.{i}", "params/{j}")], tensors)
