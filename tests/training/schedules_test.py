"""aeseg/training/schedules.py, at steps with values known by hand."""

import numpy as np
import pytest
import torch

from aeseg.training import schedules
from aeseg.types import UserError

FALLS = [("constant", 1.0, 1.0), ("cosine", 0.5, 0.0), ("polynomial", 0.5**0.9, 0.0)]


@pytest.mark.parametrize(("shape", "middle", "last"), FALLS)
def test_the_learning_rate_warms_up_and_falls(shape, middle, last):
    rate = schedules.learning_rate_schedule(1.0, steps=12, warmup=4, shape=shape, end=0.0, power=0.9)
    np.testing.assert_allclose([rate(0), rate(2), rate(4), rate(8), rate(12)], [0, 0.5, 1, middle, last], atol=1e-6)


def test_an_exponential_learning_rate_falls_by_the_same_factor_per_epoch_as_in_torch():
    epochs, steps_of_one = 6, 5
    ours = schedules.learning_rate_schedule(1e-3, epochs * steps_of_one, 0, "exponential", end=0.995**epochs, power=0.9)
    optimiser = torch.optim.RMSprop([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    theirs, rates = torch.optim.lr_scheduler.ExponentialLR(optimiser, gamma=0.995), []
    for _ in range(epochs):
        rates += theirs.get_last_lr()
        optimiser.step()
        theirs.step()
    np.testing.assert_allclose([ours(epoch * steps_of_one) for epoch in range(epochs)], rates, rtol=1e-6)


def test_an_exponential_schedule_begins_after_the_warm_up():
    rate = schedules.learning_rate_schedule(1.0, steps=12, warmup=4, shape="exponential", end=0.25, power=0.9)
    np.testing.assert_allclose([rate(0), rate(2), rate(4), rate(8), rate(12)], [0, 0.5, 1, 0.5, 0.25], rtol=1e-6)


def test_the_weight_decay_grows_along_half_a_cosine():
    decay = schedules.weight_decay_schedule(0.04, growth=5.0, steps=8)
    np.testing.assert_allclose([decay(0), decay(4), decay(8), decay(9)], [0.04, 0.12, 0.2, 0.2], rtol=1e-6)
    assert schedules.weight_decay_schedule(0.04, growth=1.0, steps=8) == 0.04


def test_an_invalid_schedule_is_refused():
    with pytest.raises(UserError, match="warmup must lie between 0 and steps"):
        schedules.learning_rate_schedule(1.0, steps=5, warmup=9, shape="cosine", end=0.0, power=0.9)
    with pytest.raises(UserError, match="schedule must be one of"):
        schedules.learning_rate_schedule(1.0, steps=5, warmup=0, shape="cosin", end=0.0, power=0.9)
    with pytest.raises(UserError, match=r"needs 0 < end <= 1; got 0\.0\. Set --config"):
        schedules.learning_rate_schedule(1.0, steps=5, warmup=0, shape="exponential", end=0.0, power=0.9)
    with pytest.raises(UserError, match="weight_decay_growth must be at least 0; got -1"):
        schedules.weight_decay_schedule(0.1, growth=-1.0, steps=5)
