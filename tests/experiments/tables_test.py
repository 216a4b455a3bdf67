"""experiments/tables.py: paired differences, the paper's numbers, failures, and the results page."""

import json

import pytest

from aeseg import masking, spec
from aeseg.types import UserError
from experiments import papers, tables
from experiments.console import cli
from experiments.papers import Row, camvid_labels_tuning, camvid_tiramisu, mae_ablations, scenes
from experiments.recorded import descriptions, measurements
from experiments.study import figures, plan, plot, significance, training


def identified(table, rows, name):
    """Return the id of a row's recorded config; record it if it is new."""
    return descriptions.store(descriptions.config_file(measurements.RESULTS, table), descriptions.described(rows)[name])


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A results folder in which scenes has three seeds."""
    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path))
    found = {"scratch": (0.20, 0.22, 0.27), "pretrained": (0.25, 0.26, 0.33)}
    keys = {row.name: identified("scenes", scenes.ROWS, row.name) for row in scenes.ROWS}
    with open(tmp_path / "scenes.jsonl", "w", encoding="utf-8") as file:
        for row, values in found.items():
            for seed, value in enumerate(values):
                numbers = {"mean_iou": value, "pixel_accuracy": 0.5}
                line = {"row": row, "seed": seed, "split": "test", "numbers": numbers, "config": keys[row]}
                line |= {"seconds": 10.0, "device": "1 x cpu", "commit": "abc"}
                file.write(json.dumps(line) + "\n")
    return tmp_path


def test_differences_are_paired_by_seed(results):
    table = tables.printed("scenes")
    line = next(line for line in table.splitlines() if line.startswith("| pretrained"))
    mean, half = significance.interval([0.05, 0.04, 0.06])
    assert f"| +{100 * mean:.1f} ± {100 * half:.1f} |" in line
    assert scenes.TITLE in table
    assert "1 x cpu; commit abc" in table


def test_only_lines_of_the_present_config_and_the_last_per_seed_are_shown(results):
    (results / "scenes.jsonl").write_text(
        (results / "scenes.jsonl").read_text().replace(identified("scenes", scenes.ROWS, "pretrained"), "old")
    )
    assert "| pretrained" not in tables.printed("scenes")
    line = json.loads((results / "scenes.jsonl").read_text().splitlines()[0])
    measurements.append("scenes", {**line, "numbers": {"mean_iou": 0.26}})
    assert [line["numbers"]["mean_iou"] for line in measurements.current("scenes", scenes)] == [0.26, 0.22, 0.27]


def test_a_withdrawn_line_is_kept_in_its_file_and_not_shown(results):
    lines = [json.loads(line) for line in (results / "scenes.jsonl").read_text().splitlines()]
    reason = [{**line, "withdrawn": "measured wrongly"} if line["row"] == "pretrained" else line for line in lines]
    (results / "scenes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in reason))
    assert "| scratch" in tables.printed("scenes")
    assert "| pretrained" not in tables.printed("scenes")


def test_the_table_may_be_given_without_a_flag(results, capsys):
    assert tables.run(["program", "scenes", "--format=csv"]) == 0
    assert capsys.readouterr().out.startswith("row,mean_iou,")
    for words in (["scenes", "drive"], ["scenes", "--table=scenes"]):
        assert cli.guarded(tables.run, ["program", *words]) == 2
        assert "Expected flags only (--name=value), and one table; got 'scenes" in capsys.readouterr().err


def test_an_unknown_table_and_a_table_without_results_are_refused(results, capsys):
    assert cli.guarded(tables.run, ["program", "--table=scene"]) == 2
    assert "did you mean 'scenes'?" in capsys.readouterr().err
    with pytest.raises(UserError, match="Nothing of drive is measured yet"):
        tables.printed("drive")


def test_the_last_speed_of_each_network_and_form_is_shown(results):
    assert tables.speed() == ""
    common = {
        "network": "unet",
        "size": 128,
        "batch": 4,
        "low": 0.8,
        "high": 0.9,
        "seconds": 1.0,
        "torch_seconds": 0.9,
        "pairs": 7,
        "device": "x",
    }
    rows = [{**common, "form": "fast", "ratio": 0.5}, {**common, "form": "plain", "ratio": 0.3}, {**common, "form": "fast", "ratio": 0.85}]
    (results / "bench.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in [*rows, {"loading": "camvid_small:unet", "share": 0.04}])
    )
    shown = [line for line in tables.speed().splitlines() if line.startswith("| unet")]
    assert [line.split(" | ")[1:3] for line in shown] == [["fast", "0.85 (0.80 to 0.90)"], ["plain", "0.30 (0.80 to 0.90)"]]


def test_the_note_is_below_the_table(results, monkeypatch):
    monkeypatch.setattr(scenes, "NOTE", "What was tried.", raising=False)
    assert tables.printed("scenes").endswith("\n\nWhat was tried.")


def test_pictures_of_a_table_are_linked(results):
    assert tables.pictures("scenes") == ""
    (results / "pictures").mkdir()
    (results / "pictures" / "scenes_reconstructions.jpg").touch()
    link = "\n\nPictures: [reconstructions](pictures/scenes_reconstructions.jpg)."
    assert tables.pictures("scenes") == link
    (results / "pictures" / "scenes.png").touch()
    assert tables.pictures("scenes") == f"\n\n![The means of scenes, and their intervals](pictures/scenes.png){link}"


def published(monkeypatch, tolerance):
    """Give the row `pretrained`, whose mean is 28.0, a published number."""
    rows = [row._replace(paper={"mean_iou": 30.0}, tolerance=tolerance, citation="A. 2020") if row.compare else row for row in scenes.ROWS]
    monkeypatch.setattr(scenes, "ROWS", (*rows, Row("larger", "segment", "segment", paper={"mean_iou": 50.0}, citation="B. 2021")))


def test_a_mean_farther_from_the_paper_than_tolerated_fails_the_check(results, monkeypatch, capsys):
    published(monkeypatch, tolerance=1.5)
    assert tables.run(["program", "--table=scenes", "--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "larger, mean_iou: the paper has 50.0 (B. 2021); not measured",
        "pretrained, mean_iou: the paper has 30.0 (A. 2020); we have 28.0 over 3 of 5 seeds, 2.0 away, where 1.5 is tolerated",
        "scenes: 0 of 1 measured numbers are within tolerance of the paper's; 1 of 2 are not measured.",
    ]


def test_a_mean_within_the_tolerance_passes_the_check(results, monkeypatch, capsys):
    published(monkeypatch, tolerance=2.5)
    assert tables.run(["program", "--table=scenes", "--check"]) == 0
    assert "1 of 1 measured numbers" in capsys.readouterr().out


def test_a_picture_and_a_plot_may_be_requested_at_once(results, monkeypatch, capsys):
    done = []
    monkeypatch.setattr(figures, "write", lambda *arguments: done.append("picture") or ["here.jpg"])
    monkeypatch.setattr(plot, "write", lambda path, *arguments: done.append(path))
    assert tables.run(["program", "scenes", "--picture", "--plot=a.png"]) == 0
    assert done == ["picture", "a.png"]
    assert capsys.readouterr().out == "here.jpg\n"


def test_a_table_without_comparisons_fails_the_check(results, monkeypatch, capsys):
    assert cli.guarded(tables.run, ["program", "scenes", "--check"]) == 2
    assert "Expected rows with published numbers; scenes has none at this scale." in capsys.readouterr().err
    published(monkeypatch, tolerance=2.5)
    (results / "scenes.jsonl").unlink()
    assert tables.run(["program", "scenes", "--check"]) == 1
    assert "0 of 0 measured numbers are within tolerance of the paper's; 2 of 2 are not measured." in capsys.readouterr().out


def test_nan_fails_the_check(results, monkeypatch):
    published(monkeypatch, tolerance=2.5)
    (results / "scenes.jsonl").write_text((results / "scenes.jsonl").read_text().replace("0.26", "NaN"))
    assert tables.run(["program", "scenes", "--check"]) == 1


def test_a_row_that_failed_fails_the_command_and_the_check(results, monkeypatch):
    published(monkeypatch, tolerance=2.5)
    failed = {}
    monkeypatch.setattr(training, "measure_missing", lambda *arguments: failed)
    for code in (0, 1):
        assert tables.run(["program", "scenes", "--run"]) == code
        assert tables.run(["program", "scenes", "--run", "--check"]) == code
        failed = {("larger", 0): "exit code 1: no space"}


def test_only_unchanged_rows_are_recorded(results, monkeypatch, capsys):
    monkeypatch.setattr(training, "measure_missing", lambda table, paper, runs, extra, *rest: print(extra) or {})
    assert tables.run(["program", "scenes", "--run", "--set=data.root=/data,data.threads=4"]) == 0
    assert "{'data.root': '/data', 'data.threads': '4'}" in capsys.readouterr().out
    assert cli.guarded(tables.run, ["program", "scenes", "--run", "--set=steps=1,window=(8,8)"]) == 2
    assert "Expected --set to change only data.root, " in (told := capsys.readouterr().err)
    assert "got steps, window" in told
    assert cli.guarded(tables.run, ["program", "scenes", "--set=data.root"]) == 2
    assert "Expected --set=name=value,name=value; got 'data.root'" in capsys.readouterr().err


def test_rows_are_run_alone_with_those_that_they_start_from(results, monkeypatch):
    ran = []
    monkeypatch.setattr(training, "measure_missing", lambda table, paper, *rest: ran.append([row.name for row in paper.ROWS]) or {})
    assert tables.run(["program", "scenes", "--run", "--rows=pre*"]) == 0
    assert ran == [["denoising", "pretrained"]]
    with pytest.raises(UserError, match=r"no row matches 'post\*'\. Set --rows to match some of denoising; scratch; pretrained\."):
        tables.run(["program", "scenes", "--run", "--rows=post*"])


def test_the_readme_is_unchanged_if_the_tables_cannot_be_written(results, monkeypatch, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("\n".join(["before", *tables.MARKS, "after"]))
    front = tmp_path / "front.md"
    front.write_text("\n".join(tables.PART_MARKS))
    monkeypatch.setattr(tables, "FRONT", str(front))
    monkeypatch.setattr(tables, "README", str(readme))
    with open(results / "scenes.jsonl", "a", encoding="utf-8") as file:
        file.write('{"half": ')
    with pytest.raises(UserError, match=r"Line 7 of .*scenes\.jsonl is not JSON"):
        tables.write_readme()
    assert readme.read_text() == "\n".join(["before", *tables.MARKS, "after"])
    (results / "scenes.jsonl").write_text("")
    tables.write_readme()
    assert readme.read_text().endswith("after")
    assert sorted(path.name for path in tmp_path.glob("README*")) == ["README.md"]


def test_the_error_of_a_failed_row_is_shown_until_it_is_measured(results, tmp_path, capsys):
    runs = str(tmp_path / "runs")
    for row, seed in (("denoising", 0), ("pretrained", 2), ("pretrained", 4)):  # seed 2 has been measured since
        training.kept(training.error(training.workdir(runs, "scenes", scenes.ROWS, row, seed)), "exit code 1: no space")
    assert tables.run(["program", "--table=scenes", f"--runs={tmp_path / 'runs'}"]) == 0
    table = capsys.readouterr().out
    assert "| denoising | failed | failed |" in table
    assert "Failed: denoising, seed 0: exit code 1: no space; pretrained, seed 4: exit code 1: no space\n" in table


def test_rows_of_the_papers_scale_have_their_own_table(results, monkeypatch):
    row = Row("large", "segment", "segment", scale="paper")
    monkeypatch.setattr(scenes, "ROWS", (*scenes.ROWS, row))
    monkeypatch.setattr(scenes, "SEEDS", {"cpu": 3, "paper": 1})
    with open(results / "scenes.jsonl", "a", encoding="utf-8") as file:
        line = {
            "row": "large",
            "seed": 0,
            "numbers": {"mean_iou": 0.7},
            "seconds": 1.0,
            "device": "8 x tpu",
            "commit": "def",
            "split": "test",
            "config": identified("scenes", scenes.ROWS, "large"),
        }
        file.write(json.dumps(line) + "\n")
    small, large = tables.printed("scenes"), tables.printed("scenes", scale="paper")
    assert "large" not in small
    assert "8 x tpu" not in small
    assert "| large | 70.0 |" in large
    assert "| scratch" not in large
    assert papers.at_scale(scenes, "paper").SEEDS == 1
    assert f"\n\n{large}" in tables._with_results("\n".join(tables.MARKS))


def test_the_readme_folds_a_long_table_except_for_its_title_and_note(results, monkeypatch):
    monkeypatch.setattr(scenes, "NOTE", "What it shows.")
    there = sum(row.command == "segment" for row in scenes.ROWS)
    monkeypatch.setattr(tables, "LONGEST", there)
    assert tables._with_results("\n".join(tables.MARKS)).startswith(f"{tables.MARKS[0]}\n\n{tables.printed('scenes')}\n\n")
    monkeypatch.setattr(tables, "LONGEST", there - 1)
    head = f"**{scenes.TITLE}**\n\nAll comparisons of this table are exploratory: none was named before its first test score.\n\n"
    table = tables.printed("scenes").removeprefix(head).removesuffix("\n\nWhat it shows.")
    folded = f"<details><summary>the table, {there} rows</summary>\n\n{table}\n\n</details>"
    assert f"{head}{folded}\n\nWhat it shows." in tables._with_results("\n".join(tables.MARKS))


def test_the_readme_folds_tunings_below_the_other_tables(results, monkeypatch):
    tuning = "camvid_labels_tuning"
    line = json.loads((results / "scenes.jsonl").read_text().splitlines()[0])
    row = next(row for row in camvid_labels_tuning.ROWS if row.name == "scratch, rate 0.002")
    key = identified(tuning, camvid_labels_tuning.ROWS, row.name)
    (results / f"{tuning}.jsonl").write_text(json.dumps({**line, "row": row.name, "split": "validation", "config": key}) + "\n")
    text = tables._with_results("\n".join(tables.MARKS))
    folded = text.index(f"<details><summary>{camvid_labels_tuning.TITLE}</summary>\n\n| | mean iou | pixel accuracy | seeds |")
    assert text.index(scenes.TITLE) < folded < text.index("\n\n</details>")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--scale=gpu", r"has rows of scale cpu; got 'gpu'\. Set --scale"),
        ("--format=html", r"The formats are markdown, latex, csv; got 'html'\. Set --format"),
    ],
)
def test_a_wrong_flag_is_named(flag, message):
    with pytest.raises(UserError, match=message):
        tables.run(["program", "--table=scenes", flag])


@pytest.mark.parametrize("table", spec.names("experiments.papers"))
def test_only_rows_at_the_papers_scale_have_published_numbers(table):
    assert not any(row.paper for row in spec.module("experiments.papers", table).ROWS if row.scale == "cpu")


def test_the_published_numbers_of_fc_densenet_belong_to_per_image_batch_norm():
    published = {row.name: row for row in camvid_tiramisu.ROWS if row.paper}
    assert {name: row.paper["mean_iou_reference"] for name, row in published.items()} == {
        "FC-DenseNet56, own statistics": 58.9,
        "FC-DenseNet67, own statistics": 65.8,
        "FC-DenseNet103, own statistics": 66.9,
        "U-Net, whole images": 49.83,
        "ENet, whole images": 51.3,
    }
    assert [row.batch_statistics for row in published.values()] == [True, True, True, False, False]


def test_the_second_stage_of_camvid_tiramisu_continues_the_first_on_whole_images():
    rows = {row.name: row for row in camvid_tiramisu.ROWS}
    for row in rows.values():
        before = rows.get(row.init)
        if row.command == "evaluate":
            assert (row.config, row.overrides, row.best) == (before.config, before.overrides, before.best), "it scores the same run"
        elif before:
            first, second = (cli.load_config(each.config) for each in (before, row))
            assert spec.differences(first.method, second.method) == []
            assert (first.transfer, second.transfer) == ("fine-tune", "continue")
            assert second.window > first.window


def test_an_unknown_stage_is_refused():
    with pytest.raises(UserError, match=r"Expected no stage, or `full`, after the comma; got 'ful'\. Write unet,full\."):
        cli.load_config("camvid_tiramisu:unet,ful")


def test_the_learning_rate_of_camvid_tiramisu_falls_by_its_factor_per_epoch_for_any_number_of_epochs():
    config = cli.load_config("camvid_tiramisu:fc_densenet103")
    for epochs in (750, 300):
        config.given.epochs = epochs
        rate = spec.build(config.optimiser).learning_rate
        assert config.steps == epochs * 367 // 3
        for epoch in (0, 1, 30):
            assert float(rate(epoch * 367 / 3)) == pytest.approx(1e-3 * 0.995**epoch, rel=1e-4)


def test_an_ablation_of_mae_differs_from_the_baseline_only_in_the_named_field():
    rows = {row.name: row for row in mae_ablations.ROWS}
    methods = {
        name: spec.build(plan.config_of(row, rows, {}).method)
        for name, row in rows.items()
        if row.command == "pretrain" and "step" not in name
    }
    for end, grid, depth in (("", (12, 16), 2), (", ViT-L", (14, 14), 8)):
        kind = masking.RandomUp if end else masking.Random  # the rows of scale cpu were measured with this
        baseline = methods[f"pretraining: baseline (75 %, {depth} blocks, pixels, random){end}"]
        assert (baseline.sampler, baseline.decoder.depth, baseline.standardised) == (kind(0.75), depth, False)
        for name, sampler in (
            ("25 % hidden", kind(0.25)),
            ("90 % hidden", kind(0.9)),
            ("block-wise, 50 %", masking.Block(0.5)),
            ("block-wise, 75 %", masking.Block(0.75)),
            ("grid-wise, 75 %", masking.Grid(0.75)),
        ):
            method = methods[f"pretraining: {name}{end}"]
            assert method.sampler == sampler
            patches = grid[0] * grid[1]
            visible = int(patches * (1 - sampler.ratio))  # MAE's code
            hidden = patches - visible if isinstance(sampler, masking.RandomUp) else round(sampler.ratio * patches)
            assert method.sampler.count(*grid) == hidden
        assert methods[f"pretraining: decoder of 4 blocks{end}"].decoder.depth == 4
        assert methods[f"pretraining: normalised pixels{end}"].standardised


def test_the_results_page_refuses_to_lose_a_measured_row(results, tmp_path, monkeypatch, capsys):
    page, front = tmp_path / "page.md", tmp_path / "front.md"
    page.write_text("\n".join(tables.MARKS))
    front.write_text("\n".join(tables.PART_MARKS))
    monkeypatch.setattr(tables, "README", str(page))
    monkeypatch.setattr(tables, "FRONT", str(front))
    assert cli.guarded(tables.run, ["program", "--readme"]) == 0
    written = page.read_text()
    assert "| pretrained |" in written
    assert "`denoising`" in front.read_text()
    changed = tuple(row._replace(overrides={"steps": 7}) if row.name == "pretrained" else row for row in scenes.ROWS)
    monkeypatch.setattr(scenes, "ROWS", changed)
    assert cli.guarded(tables.run, ["program", "--readme"]) == 2
    assert "it would lose scenes: pretrained. Restore the rows" in capsys.readouterr().err
    assert page.read_text() == written


def test_a_note_is_printed_only_with_the_rows_that_it_discusses(results, monkeypatch):
    monkeypatch.setattr(scenes, "NOTE", "What both rows show.")
    assert "What both rows show." in tables.printed("scenes")
    lines = (results / "scenes.jsonl").read_text().splitlines(keepends=True)
    (results / "scenes.jsonl").write_text("".join(line for line in lines if '"scratch"' in line))
    assert "What both rows show." not in tables.printed("scenes")
