"""experiments/papers/__init__.py: tables over shares of the labels differ in nothing but where the encoder starts."""

import pytest

from experiments import papers
from experiments.papers import camvid_segnet, mae_ablations

METHODS = {"spark": "SparK", "denoising": "denoising"}


@pytest.fixture(autouse=True)
def two_methods(monkeypatch):
    monkeypatch.setattr(papers, "METHODS", METHODS)


def test_over_labels_everything_but_the_start_is_alike():
    shares, tuned, common = {"1/4": 0.25, "all": 1.0}, {"spark": {"steps": 7}}, {"steps": 5}
    rows = {row.name: row for row in papers.over_labels("a:{}", "b", shares, tuned, {}, common)}
    segmented = [f"{name}, {share}" for share in shares for name in ("scratch", "SparK", "denoising")]
    assert list(rows) == ["spark", "denoising", *segmented]
    assert (rows["spark"].command, rows["spark"].config, rows["spark"].overrides) == ("pretrain", "a:spark", {"steps": 7})
    assert rows["denoising"].overrides == {}
    for share, fraction in shares.items():
        scratch = rows[f"scratch, {share}"]
        assert scratch.overrides == {"steps": 5, "data.fraction": fraction, "freeze": "scratch"}
        assert (scratch.init, scratch.compare) == ("", "")
        for method, name in METHODS.items():
            row = rows[f"{name}, {share}"]
            assert (row.command, row.config, row.init, row.compare) == ("segment", "b", method, scratch.name)
            assert {**row.overrides, "freeze": "scratch"} == scratch.overrides


def test_over_labels_each_may_be_segmented_at_its_own_rate():
    rows = {row.name: row for row in papers.over_labels("a:{}", "b", {"all": 1.0}, {}, {"scratch": 0.006, "spark": 5e-4}, {"steps": 5})}
    assert rows["scratch, all"].overrides == {"steps": 5, "data.fraction": 1.0, "freeze": "scratch", papers.RATE: 0.006}
    assert rows["SparK, all"].overrides == {"steps": 5, "data.fraction": 1.0, papers.RATE: 5e-4}
    assert rows["denoising, all"].overrides == {"steps": 5, "data.fraction": 1.0}


def test_each_method_and_scratch_has_four_trials_and_is_segmented_alike():
    harder = {"spark": ("units of 16", {"method.unit": 16}), "denoising": ("squares of 6", {"method.noise[0].size": 6})}
    then = {"spark": ("units of 16", 0.006), "denoising": ("as it is", 0.006)}
    rows = {row.name: row for row in papers.trials("a:{}", "b", {"steps": 5}, harder, then)}
    for name in ("scratch", "SparK", "denoising"):
        assert len([row for row in rows.values() if row.command == "segment" and row.name.startswith(f"{name}, ")]) == 4
    assert rows["scratch, rate 0.006"].overrides == {"steps": 5, "freeze": "scratch", papers.RATE: 0.006}
    assert rows["SparK, units of 16"].overrides == {"steps": 5}
    assert rows["SparK, units of 16, then rate 0.006"].overrides == {"steps": 5, papers.RATE: 0.006}
    for trial in ("SparK, units of 16", "SparK, units of 16, then rate 0.006"):
        assert rows[rows[trial].init].overrides == {"method.unit": 16}
    assert rows["spark pretraining, rate 0.0005"].overrides == {papers.RATE: 5e-4}
    assert (rows["spark pretraining, as it is"].command, rows["spark pretraining, as it is"].overrides) == ("pretrain", {})


def test_the_numbers_of_segnets_table_1_are_the_published_ones():
    """Global accuracy, class accuracy, mIoU and BF, with median frequency balancing and without; copied once more from the paper."""
    table = """
        Bilinear-Interpolation                77.9 61.1 43.3 20.83   82.7 52.5 43.8 23.08
        SegNet-Basic                          82.7 62.0 47.7 35.78   84.0 54.6 46.3 36.67
        SegNet-Basic-EncoderAddition          83.4 63.6 48.5 35.92   84.2 56.5 47.7 36.27
        SegNet-SingleChannelDecoder           81.2 60.7 46.1 31.62   83.5 53.9 45.2 32.45
        FCN-Basic                             81.7 62.4 47.3 38.11   83.9 55.6 45.0 37.33
        FCN-Basic-NoAddition                  80.5 58.6 44.1 31.96   82.3 53.9 44.2 29.43
        FCN-Basic-NoDimReduction              84.1 63.4 50.1 37.37   83.5 57.3 47.0 37.13
        FCN-Basic-NoAddition-NoDimReduction   80.5 61.6 45.9 30.47   83.7 54.8 45.5 33.17
    """
    names = ("pixel_accuracy", "class_accuracy", "mean_iou_reference", "mean_boundary_f1_reference")
    published = {}
    for name, *numbers in (line.split() for line in table.strip().splitlines()):
        values = [float(number) for number in numbers]
        published[f"{name}, median frequency"] = dict(zip(names, values[:4], strict=True))
        published[f"{name}, natural"] = dict(zip(names, values[4:], strict=True))
    assert {row.name: row.paper for row in camvid_segnet.ROWS if row.scale == "paper"} == published
    for weights in ("median frequency", "natural"):
        ours = {name.removesuffix(", 72x96"): numbers for name, numbers in camvid_segnet.ORDERS[weights].items()}
        assert ours == {name: numbers for name, numbers in published.items() if name.endswith(weights)}


def test_numbers_from_memory_are_in_no_correlation():
    """MAE's probes between 10 and 75 % hidden, and at 90 %, are known from memory: 69.9 at 50 % and 66.1 at 90 %."""
    rows = {row for order in mae_ablations.ORDERS.values() for row in order}
    assert rows == {
        "baseline (75 %, 2 blocks, pixels, random)",
        "decoder of 1 block",
        "decoder of 4 blocks",
        "block-wise, 50 %",
        "block-wise, 75 %",
        "grid-wise, 75 %",
    }
