"""experiments/papers/__init__.py: tables over shares of the labels differ in nothing but where the encoder starts."""

import pytest

from experiments import papers

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
