"""experiments/comparison/verdict.py: the verdict follows from the lines, and the intervals support it."""

import numpy as np
import pytest
from scipy import stats

from experiments.comparison import verdict as verdicts
from experiments.study import significance

COUNTS = (1, 4, 16)


def line(arm, labels, seed, miou, against="", method="", seconds=10.0):
    return {"arm": arm, "encoder": "convnet", "method": method, "against": against, "labels": labels, "seed": seed, "seconds": seconds,
            "metrics": {"miou": miou}}  # fmt: skip


def comparison(gains, seeds=5, noise=0.003, counts=COUNTS):
    """Return lines of a scratch arm whose mIoU rises with the labels, and of arms with these true gains."""
    random, found = np.random.default_rng(0), []
    for labels in counts:
        for seed in range(1, seeds + 1):
            drawn = 0.4 + 0.1 * np.log2(labels) / 2 + 0.02 * random.standard_normal()  # the seed's labelled images, equal for all arms
            found.append(line("scratch", labels, seed, drawn))
            for arm, gain in gains.items():
                found.append(line(arm, labels, seed, drawn + gain + noise * random.standard_normal(), "scratch", "spark"))
    return found


def entry(found, arm):
    return next(each for each in found["arms"] if each["arm"] == arm)


def test_a_better_arm_gains_and_a_worse_arm_loses():
    found = verdicts.verdict(comparison({"good": 0.05, "same": 0.0, "bad": -0.05}))
    assert [entry(found, arm)["overall"]["verdict"] for arm in ("good", "same", "bad")] == ["gains", "not shown", "loses"]
    assert found["headline"].startswith("good gains +5.")
    assert "over scratch with 5 seeds, averaged over 1, 4 and 16 labels" in found["headline"]
    assert any(text.startswith("bad: loses -") for text in found["sentences"])
    shown = entry(found, "same")["overall"]
    assert shown["low"] < 0 < shown["high"]
    assert any("same: no difference shown" in text and "with probability 0.8" in text for text in found["sentences"])


def test_every_verdict_is_supported_by_its_interval():
    random = np.random.default_rng(1)
    for _ in range(200):
        gains = {f"arm {number}": random.normal(0, 0.01) for number in range(4)}
        for arm in verdicts.verdict(comparison(gains, seeds=3, noise=0.02))["arms"]:
            for each in (arm["overall"], *arm["by_labels"]):
                if each["verdict"] != "not shown":
                    assert each["low"] > 0 or each["high"] < 0
                    assert (each["gain"] > 0) == (each["verdict"] == "gains")


def test_one_seed_gives_no_verdict():
    found = verdicts.verdict(comparison({"good": 0.2}, seeds=1))
    assert found["headline"] == "No verdict yet: an interval needs at least two seeds."
    assert entry(found, "good")["overall"]["verdict"] == "not shown"
    assert entry(found, "good")["overall"]["low"] is None


def test_the_interval_and_p_equal_a_paired_t_test():
    ours, theirs = [0.5, 0.56, 0.61, 0.52], [0.48, 0.5, 0.6, 0.51]
    found = verdicts.difference(ours, theirs)
    expected = stats.ttest_rel(ours, theirs)
    low, high = expected.confidence_interval(0.95)
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
    assert found["p"] == pytest.approx(expected.pvalue)


def test_unpaired_runs_are_left_out():
    lines = [each for each in comparison({"good": 0.05}) if (each["arm"], each["seed"]) != ("good", 5)]
    assert entry(verdicts.verdict(lines), "good")["overall"]["seeds"] == 4


def test_a_run_scored_twice_counts_once():
    lines = comparison({"good": 0.05})
    assert verdicts.verdict([*lines, lines[0]]) == verdicts.verdict(lines)


def test_a_gain_is_worth_the_labels_that_lift_scratch_to_the_same_score():
    scratch, gain = {1: 0.4, 4: 0.5, 16: 0.6}, {"labels": 1, "gain": 0.1, "low": 0.05, "high": 0.15}
    assert verdicts.worth(scratch, gain) == {"labels": 3, "low": 1, "high": 7}  # 0.45 is reached with 2, 0.5 with 4, 0.55 with 8


def test_the_worth_of_a_gain_needs_a_rising_curve_of_scratch():
    falling, gain = {1: 0.5, 4: 0.45, 16: 0.6}, {"labels": 1, "gain": 0.1, "low": 0.05, "high": 0.15}
    assert verdicts.worth(falling, gain) is None
    assert verdicts.worth({1: 0.4, 4: 0.45}, gain) is None, "scratch never reaches the value"
    assert verdicts.worth({1: 0.4, 4: 0.51}, gain)["high"] is None, "the upper end is above the curve"
    assert verdicts.worth({1: 0.4}, gain) is None


def test_the_smallest_difference_is_shown_in_four_of_five_draws():
    random, seeds, deviation = np.random.default_rng(0), 5, 0.02
    true = significance.smallest(deviation / np.sqrt(seeds), seeds)
    drawn = true + deviation * random.standard_normal((4_000, seeds))
    assert np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.02)


def test_the_interval_covers_the_true_gain_in_95_of_100_simulated_comparisons():
    random, inside, draws = np.random.default_rng(0), 0, 2_000
    for _ in range(draws):
        gain, seeds = random.normal(0, 0.05), int(random.integers(2, 9))
        images = 0.6 + 0.05 * random.standard_normal(seeds)  # the choice of labelled images affects both arms
        theirs = images + 0.02 * random.standard_normal(seeds)
        found = verdicts.difference(images + gain + 0.01 * random.standard_normal(seeds), theirs)
        inside += found["low"] <= gain <= found["high"]
    assert abs(inside / draws - 0.95) <= 0.02


def test_if_nothing_differs_a_gain_or_loss_is_claimed_in_5_of_100_comparisons_at_most():
    random, claimed, draws = np.random.default_rng(0), 0, 1_000
    for _ in range(draws):
        scratch = 0.6 + 0.02 * random.standard_normal(4)
        entries = [verdicts.difference(0.6 + 0.02 * random.standard_normal(4), scratch, 5) for _ in range(5)]
        verdicts._correct(entries)
        claimed += any(each["verdict"] != "not shown" for each in entries)
    assert claimed / draws <= 0.05 + 0.02


def test_an_arm_is_compared_with_scratch_trained_for_the_pretraining_s_seconds():
    lines = comparison({"good": 0.05})
    lines += [line("longer", each["labels"], each["seed"], each["metrics"]["miou"] + 0.05, "scratch", "longer") for each in lines
              if each["arm"] == "scratch"]  # fmt: skip
    found = entry(verdicts.verdict(lines), "good")
    assert abs(found["longer"]["gain"]) < 0.005
    assert entry(verdicts.verdict(lines), "longer")["longer"] is None


ONE_LABEL = "With 1 label, every network of vit predicts only one class after 120 steps"
BOTH = "With 1 label and 4 labels, every network of convnet and vit predicts only one class after 120 steps"


@pytest.mark.parametrize(
    ("leaf", "warning"),
    [
        ({}, None),
        ({("vit", 1): 0.0}, ONE_LABEL),
        ({(encoder, count): 0.0 for encoder in ("convnet", "vit") for count in (1, 4)}, BOTH),
    ],
)
def test_networks_of_an_encoder_that_predict_one_class_compare_nothing(leaf, warning):
    lines = [{**line, "encoder": encoder} for encoder in ("convnet", "vit") for line in comparison({"spark": 0.0}, counts=(1, 4))]
    for each in lines:
        each |= {name: each[name] and f"{each[name]}, {each['encoder']}" for name in ("arm", "against")}
        iou = {"ground": 0.9, "leaf": leaf.get((each["encoder"], each["labels"]), 0.3)}
        each |= {"steps": 120, "metrics": {**each["metrics"], "iou": iou}}
    warnings = verdicts.unlearned(lines)
    assert [text.partition(";")[0] for text in warnings] == ([warning] if warning else [])
    assert verdicts.verdict(lines, ("earlier",))["warnings"] == ["earlier", *warnings]
