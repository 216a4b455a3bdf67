"""experiments/study/plan.py: the cost of a run is known without its data, and its minutes from runs measured on this device."""

import types

import pytest

from experiments.papers import Row, scenes
from experiments.recorded import descriptions, measurements
from experiments.study import plan, training

TINY = {"window": (16, 16), "batch_size": 4, "data.root": "/nowhere"}
ROW = Row("U-Net", "segment", "camvid_small:unet", TINY)
NEEDS = {"a": plan.Needs(steps=10, flops=6, parameters=1, bytes=1), "b": plan.Needs(steps=10, flops=12, parameters=1, bytes=1)}
ROWS = {name: Row(name, "segment", "segment") for name in NEEDS}


def line(row, seconds, **other):
    key = descriptions.store(descriptions.config_file(measurements.RESULTS, "table"), descriptions.described(tuple(ROWS.values()))[row])
    return {"row": row, "seed": 0, "split": "test", "seconds": seconds, "device": "here", "config": key, **other}


def test_the_cost_of_a_step_is_known_without_the_data():
    one, two = (plan.needed(plan.config_of(ROW._replace(overrides=TINY | {"batch_size": size}), {}, {})) for size in (4, 8))
    assert one.steps == 600
    assert two.flops == pytest.approx(2 * one.flops, rel=0.01)
    assert two.parameters == one.parameters
    assert 12 * one.parameters < one.bytes < two.bytes  # parameters and Adam's two moments, float32
    assert one.total == 600 * one.flops


def test_a_row_has_the_encoder_of_the_row_it_starts_from():
    rows = {row.name: row for row in scenes.ROWS}
    denoising = plan.config_of(rows["denoising"], rows, {})
    config = plan.config_of(rows["pretrained"], rows, {"seed": "7"})
    assert config.method.encoder == denoising.method.encoder
    assert config.seed == 7
    probe = plan.config_of(rows["pretrained"]._replace(overrides={"transfer": "linear-probe"}), rows, {})
    assert probe.method.frozen_encoder


def test_the_rate_comes_from_the_same_row_on_the_same_device_if_measured(planned):
    unknown = line("a", 0.0)  # its process was killed, and the run continued
    found = [line("a", 2.0), line("a", 4.0), line("a", 1.0, device="elsewhere"), line("a", 1.0, config="old"), unknown]
    rates = plan.recorded_rates(measurements.matching("table", tuple(ROWS.values())), NEEDS, found, "here")
    assert rates == {"a": [30.0, 15.0]}
    assert plan.rate("b", rates) == 22.5
    assert plan.rate("b", rates | {"b": [7.0]}) == 7.0
    assert plan.rate("b", {}) == 0


def test_a_missing_predecessor_of_a_row_is_planned_again(planned, monkeypatch):
    planned.ROWS = (ROWS["a"], ROWS["b"]._replace(init="a"))
    for seed in (0, 1):
        measurements.append("table", line("a", 60.0, seed=seed))
    assert "| a | 0, 1 |" in plan.markdown("table", planned, {}, 1, "nowhere")
    monkeypatch.setattr(training, "finished", lambda workdir: True)
    assert "| a |" not in plan.markdown("table", planned, {}, 1, "nowhere")


def test_evaluation_rows_are_not_planned(planned, monkeypatch):
    monkeypatch.setattr(training, "finished", lambda workdir: True)
    planned.ROWS += (Row("c", "evaluate", "segment", init="a"),)
    assert "| c |" not in plan.markdown("table", planned, {}, 1, "nowhere")
    for row in NEEDS:
        for seed in (0, 1):
            measurements.append("table", line(row, 60.0, seed=seed))
    assert plan.markdown("table", planned, {}, 1, "nowhere") == "table: every row is trained; what is left is to score."


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """A table of two unmeasured rows on one device."""
    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path))
    monkeypatch.setattr(plan, "provenance", lambda: {"device": "here"})
    monkeypatch.setattr(plan, "config_of", lambda row, *_: row.name)
    monkeypatch.setattr(plan, "needed", NEEDS.get)
    monkeypatch.setattr(plan, "probe", lambda: 0.5)
    return types.SimpleNamespace(ROWS=tuple(ROWS.values()), SEEDS=2, SPLIT="test")


def test_without_measurements_a_matrix_product_gives_the_minutes(planned):
    text = plan.markdown("table", planned, {}, 1, "nowhere")
    assert "| a | 0, 1 | 10 | 0.0 | 1 | 0.00 | 2.0 |" in text
    assert text.endswith("0.2 hours in all, 1 at once, on here; minutes by a product of matrices here (0 GFLOP/s): no run is faster.")


def test_only_remaining_rows_are_planned(planned):
    for row in NEEDS:
        measurements.append("table", line(row, 60.0))
    measurements.append("table", line("a", 60.0, seed=1))
    text = plan.markdown("table", planned, {}, 1, "nowhere")
    assert "| a |" not in text
    assert "| b | 1 | 10 | 0.0 | 1 | 0.00 | 1.0 |" in text
    assert "the seconds of 2 measured rows of this table on this device" in text
    measurements.append("table", line("b", 60.0, seed=1))
    assert plan.markdown("table", planned, {}, 1, "nowhere") == "table: every row and seed is measured."


def test_the_probe_gives_a_rate(monkeypatch):
    monkeypatch.setattr(plan, "SIDE", 16)
    assert plan.probe() > 0
