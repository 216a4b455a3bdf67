"""experiments/benches/starting.py: a command's time until its first step, without and with compiled programs."""

import pytest

from aeseg.types import UserError
from experiments.benches import starting

TINY = (
    "--config=pretrain:reconstruction,tiny",
    *("--config.batch_size=8", "--config.window=(16,16)"),
    *(f"--config.data.{split}.{field}=16" for split in ("train", "validation") for field in ("height", "width", "records")),
)


def test_the_first_step_is_timed_without_and_with_compiled_programs():
    row = starting.measured("pretrain", 1, TINY)
    assert row["start"] == "pretrain"
    assert row["times"] == 1
    assert 0 < row["warm"] < row["cold"] < 600


def test_a_command_that_fails_before_its_first_step_is_an_error_with_its_message():
    with pytest.raises(UserError, match=r"pretrain logged no first step.(?s:.)*batch_size"):
        starting.measured("pretrain", 1, (*TINY, "--config.batch_size=0"))
