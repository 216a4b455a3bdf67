"""experiments/study/together.py: runs that share one program train and score as single runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import keys, tree
from aeseg.runs.run import Run
from aeseg.spec import build_run
from aeseg.training import mesh as meshes
from aeseg.training import state as states
from aeseg.training import step
from aeseg.types import UserError
from experiments.console import cli
from experiments.study import together

TINY = "scenes:unet,vit,tiny"


def run_of(config: str, **fields: object) -> Run:
    sizes = {
        f"data.{split}.{name}": value for split in ("train", "validation", "test") for name, value in {"height": 32, "width": 32}.items()
    }
    records = {"data.train.records": 24, "data.validation.records": 5, "data.test.records": 5}
    optimiser = {
        "optimiser.learning_rate": 7.0,  # a program uses its members' rates instead
        "optimiser.schedule": "constant",
        "optimiser.epsilon": 0.01,  # otherwise Adam amplifies rounding
    }
    shared = {**optimiser, "window": (32, 32), "steps": 4, "batch_size": 6, "optimiser.warmup": 0, **sizes, **records}
    return build_run(cli.set_fields(cli.load_config(config), {**shared, **fields}))


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(together, "CHUNK", 2)


@pytest.fixture(scope="module")
def run():
    return run_of(TINY, **{"data.transforms": (), "method.encoder.grid": (8, 8)})


@pytest.fixture(scope="module")
def records(run):
    return together.on_device(together.load(run.data.records("train"), processes=1))


def test_a_member_trains_as_a_single_run_on_the_same_batches(run, records):
    optimisers = [run_of(TINY, **{"optimiser.learning_rate": rate, "optimiser.schedule": "cosine"}).optimiser for rate in (2e-3, 1e-3)]
    rates = [np.array([float(optimiser.learning_rate(number)) for number in range(4)]) for optimiser in optimisers]
    members = [together.Member(3, rates[0], np.arange(24)), together.Member(5, rates[1], np.arange(3, 12))]
    trained, losses = together.Program(run, records, 3).train(members)
    mesh = meshes.create(devices=jax.devices()[:1])
    for index, member in enumerate(members):
        state = states.create(run.method, optimisers[index], {name: array[:1] for name, array in records.items()}, member.seed, False, mesh)
        alone = step.train_step(run.method, optimisers[index], mesh, 1, member.seed, 0.0)
        run_losses = []
        for rows in together.order(member, 4, 6):
            state, terms = alone(state, {name: array[rows] for name, array in records.items()})
            run_losses.append(float(terms["loss"].value()))
        mine, other = tree.flatten(trained.params), tree.flatten(state.params)
        for name in mine:
            np.testing.assert_allclose(mine[name][index], other[name], atol=2e-5, err_msg=name)
        np.testing.assert_allclose(losses[:, index], np.mean(np.reshape(run_losses, (2, 2)), axis=1), rtol=1e-5)


def test_steps_that_do_not_fill_whole_calls_are_refused(run, records):
    with pytest.raises(UserError, match="multiple of 2 steps; got 3"):
        together.Program(run, records, 1).train([together.Member(0, np.ones(3), np.arange(24))])


def test_each_pass_has_all_records_in_an_order_that_differs_by_seed():
    first, second = (together.order(together.Member(seed, np.ones(6), np.arange(10, 18)), 6, 4) for seed in (1, 2))
    assert sorted(first[:2].ravel()) == sorted(first[2:4].ravel()) == list(range(10, 18))
    assert (first != second).any()
    assert (first[:2] != first[2:4]).any()


def test_a_flip_mirrors_image_and_label_alike():
    image = jnp.arange(2 * 3 * 4, dtype=jnp.uint8).reshape(2, 3, 4, 1)
    many = {"image": jnp.tile(image, (16, 1, 1, 1)), "label": jnp.tile(image[..., 0], (16, 1, 1)).astype(jnp.int32)}
    flipped = together.flipped(many, keys.stream(jax.random.key(0), "flips", 0))
    np.testing.assert_array_equal(flipped["image"][..., 0], flipped["label"])
    mirrored = (np.asarray(flipped["image"]) != np.asarray(many["image"])).any(axis=(1, 2, 3))
    assert 8 < mirrored.sum() < 24


def test_members_are_scored_as_single_runs(run, records):
    program = together.Program(run, records, 2)
    state, _ = program.train([together.Member(0, np.full(2, 1e-3), np.arange(24))])
    scores = together.Scorer(program).scores(state, records)
    variables = jax.tree.map(lambda leaf: leaf[0], {"params": state.params, **state.collections})
    predicted = jnp.argmax(run.method.apply(variables, records["image"] / 255.0, method="predict"), axis=-1)
    assert scores[0]["pixel_accuracy"] == pytest.approx(float(np.mean(predicted == np.asarray(records["label"]))), abs=1e-4)
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"ema": 0.9}, "running mean"), ({"microbatches": 2}, "microbatch")],
)
def test_what_a_program_cannot_train_is_refused(records, fields, message):
    with pytest.raises(UserError, match=message):
        together.Program(run_of(TINY, **fields), records, 2)
