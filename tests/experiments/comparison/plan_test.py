"""experiments/comparison/plan.py: requests are lowered by a fixed rule until they fit the minutes."""

import itertools

import pytest

from aeseg.types import UserError
from experiments.comparison import plan as plans
from experiments.comparison.plan import Costs, Part, Plan

ARMS = (
    Part("scratch, a", "a", "", False, False),
    Part("longer scratch, a", "a", "scratch, a", False, True),
    Part("spark, a", "a", "scratch, a", True, False),
    Part("scratch, b", "b", "", False, False),
    Part("longer scratch, b", "b", "scratch, b", False, True),
    Part("masked, b", "b", "scratch, b", True, False),
)
COSTS = Costs({"a": 0.05, "b": 0.1}, {"spark, a": 0.1, "masked, b": 0.05}, {"a": 0.1, "b": 0.2}, 2.0, 1.0)
WANTED = Plan(ARMS, (1, 4, 16, 100), 5, 3, 2000, 30, 80)


def total(plan):
    return plans.MARGIN * sum(plans.seconds(plan, COSTS).values()) + plans.RESERVE


def test_with_enough_time_nothing_is_lowered():
    assert plans.fitted(WANTED, COSTS, 1e6) == WANTED


@pytest.mark.parametrize("minutes", [6, 15, 30, 60, 120, 300, 900])
def test_the_plan_fits_the_minutes_and_names_its_reductions(minutes):
    plan = plans.fitted(WANTED, COSTS, 60 * minutes)
    assert total(plan) <= 60 * minutes
    assert total(plan._replace(steps=plan.steps + 2)) > 60 * minutes or plan.steps == 2000
    said = " ".join(plan.lowered)
    assert (plan.steps < 2000) == (f"{plan.steps} steps instead of 2000" in said)
    assert (plan.seeds < 5) == (f"{plan.seeds} seeds instead of 5" in said)
    assert (len(plan.labels) < 4) == ("labelled images" in said)
    assert sum("without" in line for line in plan.lowered) == 6 - len(plan.arms)
    assert plan.labels[-1] == 100, "all labels are always kept"


def test_more_minutes_never_lower_the_plan():
    found = [plans.fitted(WANTED, COSTS, 60 * minutes) for minutes in (6, 15, 30, 60, 120, 300, 900)]
    sizes = [(len(plan.arms), len(plan.labels), plan.seeds, plan.trials) for plan in found]
    assert all(one <= other for before, after in itertools.pairwise(sizes) for one, other in zip(before, after, strict=True))


def test_too_few_minutes_are_refused_with_the_needed_minutes():
    with pytest.raises(UserError, match=r"--minutes leaves 0\.5, and \d+\.\d are needed\. .* Set --minutes"):
        plans.fitted(WANTED, COSTS, 30)


def test_removing_an_arm_also_removes_its_unneeded_scratch_arm():
    plan = plans.fitted(WANTED, COSTS, 60 * 6)
    names = {arm.name for arm in plan.arms}
    assert all(arm.against in names for arm in plan.arms if arm.against)
    assert all(any(other.against == arm.name for other in plan.arms) for arm in plan.arms if not arm.against)


def test_arms_are_left_out_by_their_worth_and_named_with_their_cost():
    """Public weights stay the longest, then the first method, then public weights pretrained further."""
    public = (Part("scratch, p", "p", "", False, False), Part("public, p", "p", "scratch, p", False, False, True))
    further = Part("public then masked, p", "p", "scratch, p", True, False, True)
    arms = (*ARMS, *public, further)
    assert [arm.name for arm in plans.by_worth(arms)] == ["public, p", "spark, a", "public then masked, p", "masked, b"]
    costs = COSTS._replace(step={**COSTS.step, "p": 0.3}, pretrain={**COSTS.pretrain, further.name: 0.1}, image={**COSTS.image, "p": 0.3})
    plan = plans.fitted(WANTED._replace(arms=arms), costs, 60 * 20)
    assert [arm.name for arm in plan.arms if arm.against] == ["spark, a", "public, p"]
    assert "without public then masked, p, 300 ms per step" in plan.lowered


def test_arms_without_timings_are_left_out_and_named():
    costs = COSTS._replace(step={"a": 0.05}, pretrain={"spark, a": 0.1})
    plan = plans.fitted(WANTED, costs, 1e6)
    assert [arm.name for arm in plan.arms] == ["scratch, a", "longer scratch, a", "spark, a"]
    assert plan.lowered == ("without scratch, b", "without longer scratch, b", "without masked, b")


def test_a_longer_scratch_trains_for_its_pretraining_s_seconds_too():
    longer = next(arm for arm in ARMS if arm.longer)
    extra = plans.run_steps(WANTED, COSTS, longer) - WANTED.steps
    assert extra * COSTS.step["a"] == pytest.approx(WANTED.pretraining * COSTS.pretrain["spark, a"], rel=1e-3)


def test_every_arm_has_equally_many_trials_with_the_middle_label_count():
    trials = plans.seconds(WANTED._replace(arms=ARMS[:1]), COSTS)["trials"]
    assert plans.seconds(WANTED._replace(arms=ARMS[:3]), COSTS)["trials"] == pytest.approx(2 * trials), "a longer scratch has its scratch's"
    assert WANTED._replace(labels=(1, 4, 100)).tuned == 4
    assert WANTED.tuned == 16, "the larger of the middle two"
    assert WANTED._replace(labels=(100,)).tuned == 100
    assert WANTED._replace(labels=(1, 100)).tuned == 100, "with one label, trials would select by chance"
    assert "3 trials per arm with 100 labels; " in plans.text(WANTED._replace(labels=(1, 100)), COSTS, 6000.0)
