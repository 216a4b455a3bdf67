"""aeseg/runs/programs.py: runs share compiled programs, and compute the same as without."""

import jax
import numpy as np
import pytest

from aeseg import spec
from aeseg.runs.programs import Alone, Programs
from aeseg.runs.train import train
from aeseg.training import checkpoints as saved
from experiments.console import cli

SMALL = {"steps": 3, "batch_size": 8, "window": (16, 16), "evaluate_every": 3, "save_every": 3}
IMAGES = {f"data.{split}.{name}": 16 for split in ("train", "validation") for name in ("height", "width", "records")}


def run_of(argument, **fields):
    return spec.build(cli.set_fields(cli.load_config(f"scenes:{argument},tiny"), {**SMALL, **IMAGES, **fields}))


@pytest.mark.parametrize("argument", ["denoising", "unet"])
def test_a_run_with_shared_programs_equals_the_run_without(argument, tmp_path):
    seen = []
    programs = Programs(lambda: seen.append(1))
    first = run_of(argument)
    second = run_of(argument, seed=3, **{"optimiser.learning_rate": 7e-3, "steps": 4})
    train(first, str(tmp_path / "first"), programs=programs)
    compiled = len(programs._compiled)
    shared = train(second, str(tmp_path / "shared"), programs=programs)
    assert len(programs._compiled) == compiled, "another seed, rate and length compile nothing"
    assert len(seen) == 7
    alone = train(second, str(tmp_path / "alone"))
    ours, theirs = (saved.load_variables(str(tmp_path / name / "checkpoints"))[1] for name in ("shared", "alone"))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5), ours, theirs)
    for name, value in alone.numbers.items():
        assert shared.numbers[name] == pytest.approx(value, rel=1e-3)


def test_another_architecture_compiles_its_own_programs():
    programs = Programs()
    wide = run_of("unet", **{"method.encoder.widths": (4, 12)})
    states = [programs.initial(run) for run in (run_of("unet"), wide, run_of("unet", seed=5))]
    assert len(programs._compiled) == 2
    kernels = [np.asarray(jax.tree.leaves(state.params)[1]) for state in states]
    assert kernels[0].shape == kernels[2].shape
    assert not np.array_equal(kernels[0], kernels[2]), "the seed is an argument"


def test_given_records_replace_the_run_s_records():
    run = run_of("unet")
    records = run.training
    again = run_of("unet", seed=1).with_records(records, records)
    assert again.training is records
    assert again.validation is records
    assert again.seed == 1


class Counting:
    """Images that count how often they are read."""

    def __init__(self, source):
        self.source, self.read = source, []
        self.classes = source.classes

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        self.read.append(int(index))
        return self.source[index]


@pytest.mark.parametrize("programs", [Alone, Programs])
def test_the_first_batch_is_read_once_for_the_check_and_the_initial_state(programs):
    run = run_of("unet")
    counting = Counting(run.data.records("train"))
    run = run.with_records(counting, counting)
    chosen = programs()
    chosen.check(run)
    state = chosen.initial(run)
    assert int(state.step) == 0
    assert sorted(counting.read) == sorted(set(counting.read)), "each record of the batch is read once"
    assert len(counting.read) == run.batch_size
