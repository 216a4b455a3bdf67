"""experiments/search/samplers.py: proposals depend only on the seed and the number, and Optuna's study resumes."""

import sys

import pytest

from aeseg.types import UserError
from experiments.search import samplers, space
from experiments.search.samplers import sampler

FINITE = space.product(space.values("a", 1, 2, 3), space.values("b", 4, 5))
RANGES = space.product(space.log_uniform("rate", 1e-4, 1e-1), space.uniform("depth", 1, 9), space.values("width", (8, 8), (16, 16)))


def asked(found):
    return [found.ask(number) for number in range(found.trials)]


def test_a_grid_is_every_point_in_order():
    assert asked(sampler("", FINITE, 0, 0, "", True)) == space.points(FINITE)


def test_random_trials_of_a_finite_space_are_all_different():
    found = asked(sampler("random", FINITE, 0, 0, "", True))
    assert found != space.points(FINITE)
    assert sorted(map(str, found)) == sorted(map(str, space.points(FINITE)))
    assert asked(sampler("random", FINITE, 2, 0, "", True)) == found[:2]


def test_random_draws_are_functions_of_seed_and_number():
    found = asked(sampler("", RANGES, 5, 0, "", True))
    assert asked(sampler("random", RANGES, 3, 0, "", True)) == found[:3]
    assert found[0] != found[1]
    assert asked(sampler("random", RANGES, 5, 1, "", True)) != found


@pytest.mark.parametrize("name", ["optuna-tpe", "optuna-cmaes"])
def test_optuna_s_study_resumes(name, tmp_path):
    pytest.importorskip("optuna")
    pytest.importorskip("cmaes")
    whole, first = (sampler(name, RANGES, trials, 0, str(tmp_path / place), False) for trials, place in ((6, "whole"), (3, "cut")))
    for number in range(6):
        whole.tell(number, whole.ask(number)["rate"])
    for number in range(3):
        first.tell(number, first.ask(number)["rate"])
    after = sampler(name, RANGES, 6, 0, str(tmp_path / "cut"), False)
    for number in range(6):
        after.tell(number, after.ask(number)["rate"])
    assert asked(after) == asked(whole)
    assert all(type(each["depth"]) is int and each["width"] in ((8, 8), (16, 16)) for each in asked(whole))


@pytest.mark.parametrize("fields", [0, 1], ids=["before its first field", "between two fields"])
@pytest.mark.parametrize("name", ["optuna-tpe", "optuna-cmaes"])
def test_an_interrupted_draw_of_an_optuna_trial_is_completed(name, fields, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    pytest.importorskip("cmaes")
    whole, cut = (sampler(name, RANGES, 4, 0, str(tmp_path / place), False) for place in ("whole", "cut"))
    for number in range(3):
        whole.tell(number, whole.ask(number)["rate"])
    for number in range(2):
        cut.tell(number, cut.ask(number)["rate"])
    began = []

    def dies(of, choose):
        began.extend(choose.suggest_float("rate", 1e-4, 1e-1, log=True) for _ in range(fields))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(samplers, "draw", dies)
        with pytest.raises(KeyboardInterrupt):
            cut.ask(2)
    after = sampler(name, RANGES, 4, 0, str(tmp_path / "cut"), False)
    drawn = after.ask(2)
    assert set(drawn) == {"rate", "depth", "width"}
    if fields:
        assert drawn["rate"] == began[0]
    else:
        assert drawn == whole.ask(2)
    after.tell(2, drawn["rate"])
    assert asked(after) == asked(sampler(name, RANGES, 4, 0, str(tmp_path / "cut"), False))
    assert len(samplers.Optuna(name, RANGES, 0, str(tmp_path / "cut"), False)._study.trials) == 4


def test_optuna_s_tpe_draws_nearer_to_good_values(tmp_path):
    pytest.importorskip("optuna")
    found = sampler("optuna-tpe", space.uniform("x", 0.0, 1.0), 40, 0, str(tmp_path), True)
    drawn = []
    for number in range(40):
        drawn.append(found.ask(number)["x"])
        found.tell(number, -abs(drawn[-1] - 0.8))
    assert sum(abs(x - 0.8) for x in drawn[30:]) < sum(abs(x - 0.8) for x in drawn[:10]) / 2


@pytest.mark.parametrize(
    ("name", "of", "trials", "says"),
    [
        ("optuna-tpo", FINITE, 3, "The samplers are grid, random, optuna-tpe, .*did you mean 'optuna-tpe'"),
        ("grid", RANGES, 0, "rate is a range"),
        ("grid", FINITE, 3, "all its 6 trials; got --trials=3"),
        ("", RANGES, 0, "the number of trials for random; got --trials=0"),
        ("optuna-tpe", FINITE, 0, "the number of trials for optuna-tpe"),
    ],
)
def test_a_sampler_that_does_not_fit_the_space_is_refused(name, of, trials, says):
    with pytest.raises(UserError, match=says):
        sampler(name, of, trials, 0, "", True)


def test_without_optuna_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"--sampler=optuna-tpe needs optuna, which is not installed\. Run pip install -e '\.\[sweep\]'"):
        sampler("optuna-tpe", FINITE, 3, 0, "", True)
