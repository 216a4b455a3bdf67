"""experiments/sweep.py: trials run once, validation selects the winner, and only the winner is scored on the test set."""

import importlib
import json
import os
import re
import threading
import time
import types

import pytest

from aeseg import jsonlines, spec
from aeseg.runs import workdir as workdirs
from aeseg.types import UserError
from experiments import sweep
from experiments.console import cli
from experiments.machine import commands
from experiments.search import trials
from tests.experiments import two_copies

SPLITS = ("train", "validation", "test")
TINY = ("--config.window=(16,16)", "--config.batch_size=8", "--config.steps=2", "--config.log_every=1")
SCENES = tuple(f"--config.data.{split}.{field}=16" for split in SPLITS for field in ("height", "width", "records"))
RATES = "--space=optimiser.learning_rate=1e-3,2e-3,4e-3"
SCORES = {0.001: 0.2, 0.002: 0.4, 0.004: 0.3}


@pytest.fixture
def calls(monkeypatch):
    """Record commands without training: the score depends on the learning rate; runs in `failing` fail."""
    seen = types.SimpleNamespace(trained=[], scored=[], failing=set(), score=lambda config: SCORES[config.optimiser.learning_rate])
    turn = threading.Lock()

    def call(command, share, log="", capture=False, lock=None):
        if capture:
            return json.dumps({"device": "none", "commit": "abc"})
        place = next(word.split("=", 1)[1] for word in command if word.startswith("--workdir="))
        if command[2] == "experiments.evaluate":
            assert "--split=test" in command
            seen.scored.append(os.path.basename(place))
            with open(os.path.join(place, "metrics.json"), "w", encoding="utf-8") as file:
                json.dump({"test": {"mean_iou": 0.1, "loss": 0.9, "step": 3}}, file)
            return ""
        with turn:
            seen.trained.append(command)
        if os.path.basename(place) in seen.failing:
            raise UserError("exit code 2: the loss is not finite")
        words = [word for word in command[3:] if word.startswith("--config.")]
        name = next(word.split("=", 1)[1] for word in command if word.startswith("--config="))
        config = cli.parse(["program", *words], "", config=name).config
        workdirs.check_workdir(place, config)
        rows = [{"step": 1, f"validation/{config.best}": 0.99}, {"step": config.steps, f"validation/{config.best}": seen.score(config)}]
        with open(os.path.join(place, "metrics.jsonl"), "w", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))
        return ""

    monkeypatch.setattr(commands, "call", call)
    monkeypatch.setattr(commands, "_gpus", lambda: ["0", "1"])
    return seen


@pytest.fixture
def swept(tmp_path, capsys):
    """Return a function that sweeps in a directory of the test and returns (exit code, stdout, stderr)."""

    def run(*flags):
        code = cli.guarded(sweep.run, ["program", *flags, f"--workdir={tmp_path / 'sweep'}"])
        return code, *capsys.readouterr()

    return run


def lines(tmp_path):
    return jsonlines.read(str(tmp_path / "sweep" / "trials.jsonl"))


@pytest.mark.parametrize("jobs", [1, 2])
def test_only_the_winner_on_validation_is_scored_on_the_test_set(calls, swept, tmp_path, jobs):
    code, out, _ = swept(RATES, f"--jobs={jobs}", "--init=runs/some pretraining")
    assert code == 0
    assert calls.scored == ["001-0"]
    assert sorted((line["trial"], line["value"], line["device"]) for line in lines(tmp_path)) == [
        (0, 0.2, "none"),
        (1, 0.4, "none"),
        (2, 0.3, "none"),
    ]
    place = tmp_path / "sweep"
    summary = re.sub(r"seconds     \d+ of", "seconds     0 of", out[out.index("winner") :])  # a busy machine takes one
    assert summary.splitlines() == [
        "winner      trial 1: optimiser.learning_rate=0.002",
        "validation  mean_iou 0.4  (one seed; selected the winner)",
        "test        mean_iou 0.1  (read once, only for the winner)",
        "seconds     0 of training, over all finished runs",
        f"trained     {place}/trials/001-0",
        f"config      {place}/winner.json",
        f"next        python -m experiments.segment --config={place}/winner.json '--init=runs/some pretraining' --workdir={place}/winner",
    ]
    assert [row.split(" | ")[0] for row in out.splitlines() if row.startswith("| ")] == ["| trial", "| 1", "| 2", "| 0"]
    won, default = cli.load_config(str(place / "winner.json")), cli.load_config("segment")
    assert won.optimiser.learning_rate == 0.002
    default.optimiser.learning_rate = 0.002
    assert spec.differences(default, won) == []


def test_the_same_command_again_trains_nothing_and_says_the_same(calls, swept):
    first = swept(RATES)[1]
    again = swept(RATES)[1]
    assert (len(calls.trained), calls.scored) == (3, ["001-0"])
    assert "This sweep is finished" in again
    assert again[again.index("winner") :] == first[first.index("winner") :]


def test_an_interrupted_sweep_resumes(calls, swept, monkeypatch):
    run, began = commands.call, []

    def cut(command, *rest, **more):
        began.append(command)
        if len(began) == 3:  # provenance, a trial, the second
            raise KeyboardInterrupt
        return run(command, *rest, **more)

    monkeypatch.setattr(commands, "call", cut)
    assert swept(RATES)[0] == 130
    assert (len(calls.trained), calls.scored) == (1, [])
    assert swept(RATES)[0] == 0
    assert (len(calls.trained), calls.scored) == (3, ["001-0"])


def test_a_sweep_of_an_earlier_version_resumes_if_its_trials_are_the_same(calls, swept, tmp_path):
    """Its sweep.json describes the space with that version's classes."""
    assert swept(RATES)[0] == 0
    path = tmp_path / "sweep" / "sweep.json"
    old = json.loads(path.read_text())
    old["space"] = "Values(field='optimiser.learning_rate', values=(0.001, 0.002, 0.004))"
    path.write_text(json.dumps(old))
    assert "This sweep is finished" in swept(RATES)[1]
    path.write_text(json.dumps(old))
    (tmp_path / "sweep" / "report.json").unlink()
    code, _, err = swept("--space=optimiser.learning_rate=1e-3,3e-3,4e-3")
    assert code == 2
    assert "has trial 1 with {'optimiser.learning_rate': 0.002}; the sampler gives it {'optimiser.learning_rate': 0.003}" in err
    assert len(calls.trained) == 3


def test_minutes_end_a_sweep_without_a_winner_and_the_same_command_continues(calls, swept, monkeypatch, tmp_path):
    def late(*arguments, **how):
        raise commands.Late(commands.OVER)

    call, began = commands.call, time.monotonic()
    monkeypatch.setattr(commands, "call", lambda *given, **how: call(*given, **how) if len(calls.trained) < 1 else late())
    monkeypatch.setattr(commands.time, "monotonic", lambda: began + 3600 * len(calls.trained))
    code, out, err = swept(RATES, "--minutes=30")
    assert (code, len(calls.trained), calls.scored, err) == (0, 1, [], "")
    assert "No winner yet: the minutes are over; the same command continues." in out
    assert [line["trial"] for line in lines(tmp_path)] == [0]
    monkeypatch.setattr(commands, "call", call)
    monkeypatch.setattr(commands.time, "monotonic", lambda: began)
    code, out, _ = swept(RATES, "--minutes=30")
    assert (code, len(calls.trained), calls.scored) == (0, 3, ["001-0"])


def test_a_failed_trial_is_marked_and_the_others_continue(calls, swept):
    calls.failing = {"001-0"}
    code, out, err = swept(RATES)
    assert code == 0
    assert "winner      trial 2: optimiser.learning_rate=0.004" in out
    assert "| 1 | 0.002 |  | 0 | 0 | seed 0: exit code 2: the loss is not finite |" in out
    assert "[sweep] trial 1, seed 0: failed: exit code 2: the loss is not finite" in err


def test_if_all_trials_fail_the_test_set_is_not_read_and_the_same_command_tries_again(calls, swept):
    calls.failing = {f"00{number}-0" for number in range(3)}
    code, _, err = swept(RATES)
    assert (code, calls.scored) == (1, [])
    assert "No trial was finished" in err
    calls.failing = set()
    assert swept(RATES)[0] == 0
    assert calls.scored == ["001-0"]


def test_the_mean_over_seeds_decides(calls, swept, tmp_path):
    calls.score = lambda config: {(0.001, 5): 0.9, (0.001, 6): 0.0}.get((config.optimiser.learning_rate, config.seed), 0.5)
    code, out, _ = swept("--space=optimiser.learning_rate=1e-3,2e-3", "--seeds=2", "--config.seed=5")
    assert code == 0
    assert calls.scored == ["001-5", "001-6"]
    assert "validation  mean_iou 0.5 ± 0  (the mean over 2 seeds; selected the winner)" in out
    assert cli.load_config(str(tmp_path / "sweep" / "winner.json")).seed == 5


def test_a_loss_is_best_where_it_is_smallest(calls, swept):
    code, out, _ = swept("--config=pretrain:denoising,tiny", RATES)
    assert code == 0
    assert calls.scored == ["000-0"]
    assert all(command[2] == "experiments.pretrain" for command in calls.trained)
    assert "test        loss 0.9  (read once" in out


def test_a_test_set_equal_to_the_validation_set_is_reported(calls, swept):
    calls.score = lambda config: config.ema
    assert (
        "test        mean_iou 0.1  (not independent: this config's test"
        in swept("--config=folder:unet", "--config.data.test.split=validation", "--space=ema=0,0.5")[1]
    )


def test_if_the_test_set_cannot_be_read_the_winner_is_kept_and_the_same_command_tries_again(calls, swept, monkeypatch):
    run = commands.call

    def call(command, *rest, **more):
        if command[2] == "experiments.evaluate":
            raise UserError("exit code 2: there is no directory")
        return run(command, *rest, **more)

    monkeypatch.setattr(commands, "call", call)
    code, out, _ = swept(RATES)
    assert code == 1
    assert "winner      trial 1: " in out
    assert "test        not scored: exit code 2: there is no directory; the same command tries again, with the same winner" in out
    monkeypatch.setattr(commands, "call", run)
    assert swept(RATES)[0] == 0
    assert (len(calls.trained), calls.scored) == (3, ["001-0"])


def test_a_winner_with_test_scores_stays_the_winner(calls, swept, tmp_path, monkeypatch):
    run = commands.call

    def call(command, *rest, **more):
        if command[2] == "experiments.evaluate" and "001-1" in " ".join(command):
            raise UserError("exit code 1: killed")
        return run(command, *rest, **more)

    monkeypatch.setattr(commands, "call", call)
    calls.failing = {"002-0"}
    calls.score = lambda config: {**SCORES, 0.004: 0.9}[config.optimiser.learning_rate]
    assert swept(RATES, "--seeds=2")[0] == 1
    assert calls.scored == ["001-0"]
    trained = len(calls.trained)
    monkeypatch.setattr(commands, "call", run)
    calls.failing = set()  # so that the best would be trial 2 now
    code, out, _ = swept(RATES, "--seeds=2")
    assert (code, calls.scored, len(calls.trained)) == (0, ["001-0", "001-1"], trained)
    assert "The winner of this sweep is chosen: only its runs are scored; nothing is trained." in out
    assert "winner      trial 1: " in out
    assert cli.load_config(str(tmp_path / "sweep" / "winner.json")).optimiser.learning_rate == 0.002
    assert "This sweep is finished; nothing is trained." in swept(RATES, "--seeds=2")[1]


def test_the_winner_is_saved_before_the_test_set_is_read(calls, swept, tmp_path, monkeypatch):
    run, seen = commands.call, []

    def call(command, *rest, **more):
        if command[2] == "experiments.evaluate":
            seen.append(json.loads((tmp_path / "sweep" / "report.json").read_text())["number"])
            raise KeyboardInterrupt
        return run(command, *rest, **more)

    monkeypatch.setattr(commands, "call", call)
    assert swept(RATES)[0] == 130
    assert seen == [1]


def test_another_process_in_the_same_sweep_is_refused(calls, swept, tmp_path, monkeypatch):
    run, codes = commands.call, []

    def call(command, *rest, **more):
        if command[2] == "experiments.segment" and not codes:
            codes.append(None)
            codes[0] = cli.guarded(sweep.run, ["program", RATES, f"--workdir={tmp_path / 'sweep'}"])
        return run(command, *rest, **more)

    monkeypatch.setattr(commands, "call", call)
    code, _, err = swept(RATES)
    assert (code, codes, len(calls.trained)) == (0, [2], 3)
    assert f"Expected no other process in {tmp_path / 'sweep'}; another sweep is running there. Rerun the same command after it" in err


def test_copies_run_each_trial_once_and_one_of_them_scores_the_winner(calls, tmp_path, monkeypatch, capsys):
    run, codes = commands.call, []

    def call(command, *rest, **more):
        time.sleep(0.1)
        return run(command, *rest, **more)

    def copy():
        codes.append(cli.guarded(sweep.run, ["program", RATES, "--seeds=2", "--copies=2", f"--workdir={tmp_path / 'sweep'}"]))

    calls.failing = {"000-1"}
    two_copies.run(monkeypatch, copy, call)
    assert codes == [0, 0]
    tried = sorted((line["trial"], line["seed"]) for line in lines(tmp_path))
    assert tried == sorted(set(tried)), "each run has one line"
    assert len(calls.trained) == len(tried) == 6
    assert sorted(calls.scored) == ["001-0", "001-1"]
    assert capsys.readouterr().out.count("winner      trial 1") == 2


def test_copies_share_no_trials_that_depend_on_one_another(calls, swept):
    code, _, err = swept(RATES, "--sampler=optuna-tpe", "--trials=3", "--copies=2")
    assert code == 2
    assert "copies share the trials of grid and random only" in err


def test_a_segmenter_is_scored_on_whole_images_so_that_its_window_may_vary(calls, swept):
    calls.score = lambda config: config.window[0]
    code, out, err = swept("--space=window=(32,32),(64,64)")
    assert code == 0, err
    assert "winner      trial 1: window=[64, 64]" in out


def test_equal_fields_are_run_once(calls, swept, tmp_path):
    assert swept("--space=optimiser.learning_rate=1e-3,0.001")[0] == 0
    assert len(calls.trained) == 1
    assert [(line["trial"], line["value"]) for line in lines(tmp_path)] == [(0, 0.2), (1, 0.2)]


def test_equal_fields_at_once_are_run_once(calls, swept, tmp_path, monkeypatch):
    run = commands.call

    def call(command, *rest, **more):
        if command[2] == "experiments.segment":
            time.sleep(0.2)  # so that both would run
        return run(command, *rest, **more)

    monkeypatch.setattr(commands, "call", call)
    assert swept("--space=optimiser.learning_rate=1e-3,0.001,2e-3", "--jobs=2")[0] == 0
    trained = [word for command in calls.trained for word in command if word.startswith("--workdir=")]
    assert sorted(os.path.basename(word) for word in trained) == ["000-0", "002-0"]
    assert sorted((line["trial"], line["value"]) for line in lines(tmp_path)) == [(0, 0.2), (1, 0.2), (2, 0.4)]


def test_equal_fields_of_a_failed_run_are_run_again(calls, swept, tmp_path):
    calls.failing = {"000-0"}
    assert swept("--space=optimiser.learning_rate=1e-3,0.001", "--jobs=2")[0] == 0
    assert len(calls.trained) == 2
    assert [(line["trial"], line.get("value")) for line in lines(tmp_path)] == [(0, None), (1, 0.2)]


def test_a_sweep_may_grow_until_it_has_a_winner(calls, swept):
    random = (RATES, "--sampler=random")
    calls.failing = {"000-0", "001-0"}
    assert swept(*random, "--trials=2")[0] == 1
    calls.failing = set()
    assert swept(*random, "--trials=3")[0] == 0
    code, _, err = swept(*random, "--trials=1")
    assert code == 2
    assert "has a sweep whose winner is chosen:\n  sweep.trials: 3 -> 1\nSet another --workdir" in err


def test_optuna_s_trials_are_run_and_not_run_again(calls, swept):
    pytest.importorskip("optuna")
    calls.score = lambda config: -abs(config.optimiser.learning_rate - 0.002)
    flags = ("--space=optimiser.learning_rate=log(1e-4,1e-2) method.head.width=32,64", "--sampler=optuna-tpe", "--trials=4")
    first = swept(*flags, "--config=segment:fcn")
    assert first[0] == 0, first
    assert len(calls.trained) == 4
    assert swept(*flags, "--config=segment:fcn")[0] == 0
    assert len(calls.trained) == 4


def test_a_python_file_describes_a_space(calls, swept, tmp_path):
    path = tmp_path / "rates.py"
    path.write_text(
        "from experiments.search.space import values\n\ndef get_space(most='4e-3'):\n    return values('ema', 0.5, float(most))\n"
    )
    calls.score = lambda config: config.ema
    assert swept(f"--space={path}:0.75")[0] == 0
    assert calls.scored == ["001-0"]


def test_a_run_that_stopped_early_is_not_scored(tmp_path):
    config = cli.load_config("segment")
    workdirs.check_workdir(str(tmp_path), config)
    (tmp_path / "metrics.jsonl").write_text('{"step": 400, "validation/mean_iou": 0.5}\n')
    with pytest.raises(UserError, match=r"of step 1600 in .*; the last is of step 400"):
        trials.validation(str(tmp_path), "mean_iou")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1600, "validation/mean_iou": null}\n')
    with pytest.raises(UserError, match="is not finite at step 1600"):
        trials.validation(str(tmp_path), "mean_iou")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "Expected a space of trials; got none"),
        (("--space=optimiser.learning_rat=1",), "has no 'learning_rat' (did you mean 'learning_rate'?)"),
        (("--space=data.transforms[1].probability=0,1",), "config.data.transforms has no [1]; it has 1 entries, counted from 0."),
        (("--space=steps=2,many",), "Expected a value of steps of type int, such as 1600; got 'many' in the space."),
        (("--space=transfer=uniform(0,1)",), "A range needs numbers; transfer is '0' for 0. List its values"),
        (("--space=batch_size=8,16 & steps=1",), "batch_size has 2, steps has 1"),
        ((RATES, "--sampler=bayes"), "The samplers are grid, random, optuna-tpe, optuna-cmaes; got 'bayes'"),
        ((RATES, "--config.best=mean_io"), "got 'mean_io' (did you mean 'mean_iou'?), which is never measured"),
        ((RATES, "--config=pretrain", "--config.best=mean_iou"), "`pretrain` measures loss, psnr, squared_error, ssim; got 'mean_iou'"),
        (("--space=seed=1,2",), "over --seeds; seed changes config.seed: 0 -> 1"),
        (("--space=data.on_error=raise,skip",), 'data.on_error changes config.data.on_error: "raise" -> "skip". Leave it out'),
        (("--config.data.on_error=skip", "--space=data.on_error=raise | ema=0.5"), 'config.data.on_error: "skip" -> "raise"'),
        (("--config=camvid_small", "--space=data.evaluation_transforms[0].height=96,48"), "changes config.data.evaluation_transforms: "),
        (("--config=pretrain", "--space=window=(64,64),(32,32)"), "window changes config.window: [64, 64] -> [32, 32]. Leave it out"),
        (("--config=folder:unet", "--space=data.root=a,b"), "data.source.root changes config.data.source.root"),
        ((RATES, "--seeds=0"), "got --seeds=0"),
        ((RATES, "--jobs=3"), "Expected --jobs of 1 to 2"),
        (("--space=nowhere.py",), "'nowhere.py' does not exist"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) and value else None,
)
def test_invalid_sweeps_are_refused_before_training(calls, swept, tmp_path, flags, says):
    code, _, err = swept(*flags)
    assert code == 2
    assert says in err
    assert calls.trained == []
    assert not (tmp_path / "sweep").exists()


def test_a_file_that_does_not_return_a_space_is_refused(swept, tmp_path):
    path = tmp_path / "rates.py"
    path.write_text("def get_space():\n    return 'ema=0,1'\n")
    code, _, err = swept(f"--space={path}")
    assert code == 2
    assert "Expected a space of experiments/search/space.py from get_space()" in err


def test_another_sweep_in_the_directory_is_refused_with_the_differences(calls, swept):
    assert swept(RATES)[0] == 0
    code, _, err = swept(RATES, "--config.ema=0.5", "--config.data.threads=1")
    assert code == 2
    assert "config.ema: 0.0 -> 0.5" in err
    assert "threads" not in err


def test_a_record_with_other_fields_than_the_sampler_s_is_refused(calls, swept, tmp_path):
    calls.failing = {"000-0", "001-0", "002-0"}  # so that the sweep stays open
    swept(RATES)
    stray = {"trial": 0, "seed": 0, "fields": {"optimiser.learning_rate": 0.5}, "value": 0.9, "seconds": 1.0, "workdir": "x"}
    jsonlines.write(str(tmp_path / "sweep" / "trials.jsonl"), stray)
    code, _, err = swept(RATES)
    assert code == 2
    assert "has trial 0 with {'optimiser.learning_rate': 0.5}; the sampler gives it {'optimiser.learning_rate': 0.001}" in err


def test_two_trials_are_trained_and_the_winner_s_config_runs(swept, tmp_path, monkeypatch):
    """Runs the real commands in this process."""

    def call(command, share, log="", capture=False, lock=None):
        module = importlib.import_module(command[2])
        return json.dumps(module.provenance()) if capture else str(cli.guarded(module.run, command[2:]))

    monkeypatch.setattr(commands, "call", call)
    space = "--space=optimiser.learning_rate=1e-3,1e-2"
    code, out, err = swept("--config=pretrain:reconstruction,tiny", *TINY, *SCENES, "--config.evaluate_every=2", space)
    assert code == 0, err
    values = {line["trial"]: line["value"] for line in lines(tmp_path)}
    best = min(values, key=values.get)
    assert f"winner      trial {best}: " in out
    tested = [trial for trial in values if (tmp_path / f"sweep/trials/00{trial}-0/metrics.json").exists()]
    assert tested == [best]
    following = out.rstrip().rpartition("python -m experiments.")[2].split()
    assert following[0] == "pretrain"
    assert cli.guarded(importlib.import_module("experiments.pretrain").run, following) == 0
    one, other = (jsonlines.read(f"{place}/metrics.jsonl") for place in (tmp_path / "sweep/winner", tmp_path / f"sweep/trials/00{best}-0"))
    assert one == other
