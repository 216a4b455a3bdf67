"""experiments/papers/__init__.py: tables over shares of the labels differ in nothing but where the encoder starts."""

from experiments import papers

METHODS = {"spark": "SparK", "denoising": "denoising"}


def test_over_labels_everything_but_the_start_is_alike():
    shares, tuned, common = {"1/4": 0.25, "all": 1.0}, {"spark": {"steps": 7}}, {"steps": 5}
    rows = {row.name: row for row in papers.over_labels("a:{}", "b", METHODS, shares, tuned, common)}
    assert list(rows) == [
        "spark",
        "denoising",
        "scratch, 1/4",
        "SparK, 1/4",
        "denoising, 1/4",
        "scratch, all",
        "SparK, all",
        "denoising, all",
    ]
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


def test_each_method_and_scratch_has_as_many_trials_and_is_segmented_alike():
    tried = {"spark": {"as it is": {}, "slow": {"steps": 9}}, "denoising": {"as it is": {}, "small": {"batch_size": 2}}}
    rates = {"slow": 1e-3, "fast": 1e-2, "faster": 3e-2}
    scratch = {name: {"optimiser.learning_rate": rate} for name, rate in rates.items()}
    then = dict.fromkeys(METHODS, ("as it is", scratch["fast"]))
    rows = papers.trials("a:{}", "b", METHODS, {"steps": 5}, tried, scratch, then)
    segmented = [row for row in rows if row.command == "segment"]
    assert len(rows) == 9 + 4
    assert len(segmented) == 9
    by_name = {row.name: row for row in rows}
    for row in segmented:
        if row.init:
            assert row.overrides == ({"steps": 5, **scratch["fast"]} if "then" in row.name else {"steps": 5})
            assert by_name[row.init].command == "pretrain"
    assert by_name["SparK, as it is, then learning rate 0.01"].init == "spark pretraining, as it is"
    assert by_name["spark pretraining, slow"].overrides == {"steps": 9}
    assert by_name["scratch, fast"].overrides == {"steps": 5, "freeze": "scratch", "optimiser.learning_rate": 1e-2}
