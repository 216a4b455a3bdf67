"""experiments/papers: rows over label fractions differ only in the encoder's initial weights; notes agree with their tables."""

import collections
import math
import operator
import re

import jax
import numpy as np
import pytest
from scipy import stats

from aeseg import spec, tree
from aeseg.training import optimiser, rates, state
from aeseg.types import UserError
from experiments import papers
from experiments.console import cli
from experiments.papers import (
    Row,
    camvid_segnet,
    camvid_small,
    camvid_tiramisu,
    cracks,
    drive,
    mae_ablations,
    nuclei_labels,
    reference,
    reference_tuning,
    scenes,
    scenes_labels,
    scenes_longer,
)
from experiments.recorded import descriptions, measurements
from experiments.recorded.rows import seeds_of
from experiments.study import formats, plan, significance, summary
from tests.imports_test import ROOT

METHODS = {"spark": "SparK", "denoising": "denoising"}


@pytest.fixture
def two_methods(monkeypatch):
    monkeypatch.setattr(papers, "METHODS", METHODS)


def test_rows_over_labels_differ_only_in_the_initial_weights(two_methods):
    shares, tuned, common = {"1/4": 0.25, "all": 1.0}, {"spark": {"steps": 7}}, {"steps": 5}
    rows = {row.name: row for row in papers.over_labels("a:{}", "b", shares, tuned, {}, common)}
    segmented = [f"{name}, {share}" for share in shares for name in ("scratch", "SparK", "denoising")]
    assert list(rows) == ["spark", "denoising", *segmented]
    assert (rows["spark"].command, rows["spark"].config, rows["spark"].overrides) == ("pretrain", "a:spark", {"steps": 7})
    assert rows["denoising"].overrides == {}
    for share, fraction in shares.items():
        scratch = rows[f"scratch, {share}"]
        assert scratch.overrides == {"steps": 5, "data.fraction": fraction, "transfer": "scratch"}
        assert (scratch.init, scratch.compare) == ("", "")
        for method, name in METHODS.items():
            row = rows[f"{name}, {share}"]
            assert (row.command, row.config, row.init, row.compare) == ("segment", "b", method, scratch.name)
            assert {**row.overrides, "transfer": "scratch"} == scratch.overrides


def test_rows_over_labels_may_have_a_learning_rate_per_method(two_methods):
    rows = {row.name: row for row in papers.over_labels("a:{}", "b", {"all": 1.0}, {}, {"scratch": 0.006, "spark": 5e-4}, {"steps": 5})}
    assert rows["scratch, all"].overrides == {"steps": 5, "data.fraction": 1.0, "transfer": "scratch", papers.RATE: 0.006}
    assert rows["SparK, all"].overrides == {"steps": 5, "data.fraction": 1.0, papers.RATE: 5e-4}
    assert rows["denoising, all"].overrides == {"steps": 5, "data.fraction": 1.0}


def test_each_method_and_scratch_has_four_trials_with_the_same_segmentation(two_methods):
    harder = {"spark": ("units of 16", {"method.unit": 16}), "denoising": ("squares of 6", {"method.noise[0].size": 6})}
    then = {"spark": ("units of 16", 0.006), "denoising": ("as it is", 0.006)}
    rows = {row.name: row for row in papers.tuning("a:{}", "b", {"steps": 5}, harder, then)}
    for name in ("scratch", "SparK", "denoising"):
        assert len([row for row in rows.values() if row.command == "segment" and row.name.startswith(f"{name}, ")]) == 4
    assert rows["scratch, rate 0.006"].overrides == {"steps": 5, "transfer": "scratch", papers.RATE: 0.006}
    assert rows["SparK, units of 16"].overrides == {"steps": 5}
    assert rows["SparK, units of 16, then rate 0.006"].overrides == {"steps": 5, papers.RATE: 0.006}
    for trial in ("SparK, units of 16", "SparK, units of 16, then rate 0.006"):
        assert rows[rows[trial].init].overrides == {"method.unit": 16}
    assert rows["spark pretraining, rate 0.0005"].overrides == {papers.RATE: 5e-4}
    assert (rows["spark pretraining, as it is"].command, rows["spark pretraining, as it is"].overrides) == ("pretrain", {})


def test_the_why_rows_use_the_best_pretraining_of_each_method(two_methods):
    harder = {"spark": ("units of 16", {"method.unit": 16}), "denoising": ("squares of 6", {"method.noise[0].size": 6})}
    then = {"spark": ("units of 16", 0.006), "denoising": ("as it is", 0.002)}
    given = ("a:{}", "b", {"steps": 5}, harder, then)
    trials = papers.tuning(*given)
    rows = papers.tuning(*given, ("spark", 40), {"data.fraction": 0.5})
    assert [row.name for row in rows[: len(trials)]] == [row.name for row in trials]
    why = {row.name: row for row in rows[len(trials) :]}
    common = {"steps": 5, "data.fraction": 0.5, papers.RATE: 0.006}
    assert why["why: frozen at random"].overrides == {**common, "transfer": "scratch", "optimiser.freeze": ("encoder/*",)}
    assert why["why: SparK, frozen"].overrides == {**common, "transfer": "linear-probe"}
    assert why["why: denoising, frozen"].overrides[papers.RATE] == 0.002
    assert why["why: SparK, frozen"].init == why["why: SparK, lower layers slower"].init == "spark pretraining, units of 16"
    assert why[why["why: SparK, four times as long"].init].overrides == {"method.unit": 16, "data.fraction": 0.5, "steps": 40}
    assert len(why) == 6


def test_the_numbers_of_segnets_table_1_are_as_published():
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


@pytest.mark.parametrize(("variant", "shifts_decay"), [("segnet_basic", True), ("fcn_basic", True), ("segnet", False)])
def test_segnets_multipliers_equal_its_prototxts(variant, shifts_decay):
    """lr_mult and decay_mult of Models/segnet_basic_train.prototxt and segnet_train.prototxt; solver: momentum .9, weight_decay .0005."""
    config = cli.load_config(f"camvid_segnet:{variant}")
    method, fields = spec.build(config.method), config.optimiser
    assert (fields.learning_rate, fields.momentum, fields.weight_decay, fields.steps) == (0.1, 0.9, 5e-4, 10_000)
    assert method.normaliser == "pixels"
    row = state.example({"image": np.zeros((1, 64, 64, 3), np.uint8), "label": np.zeros((1, 64, 64), np.int32)})
    params = jax.eval_shape(lambda: method.init(jax.random.key(0), row, train=False))["params"]
    decays = tree.flatten(optimiser.decayed(params, fields.no_decay))
    for name, decay in decays.items():
        part, kind = name.split("/")[-2:]
        if "norm" in part:
            expected = (1.0, kind == "scale" or shifts_decay)
        else:
            expected = {"kernel": (1.0, True), "bias": (2.0, False)}[kind]
        assert (rates.factor(fields.rates, name), decay) == expected, name


def test_numbers_without_a_source_are_in_no_correlation():
    """MAE's probes between 10 and 75 % hidden, and at 90 %, have no source that we could read, so they are left out."""
    assert not re.search("memory|58.9|61.7|69.9|66.1", mae_ablations.PAPER)
    rows = {row for order in mae_ablations.ORDERS.values() for row in order}
    assert rows == {
        "baseline (75 %, 2 blocks, pixels, random)",
        "decoder of 1 block",
        "decoder of 4 blocks",
        "block-wise, 50 %",
        "block-wise, 75 %",
        "grid-wise, 75 %",
    }


def test_camvid_smalls_note_has_the_lead_of_its_convolutional_network():
    """Over all pairs of a row of `convnet` and a row of another encoder with the same label fraction."""
    rows = [row for row in camvid_small.ROWS if row.command == "segment" and not row.name.endswith("25 %")]
    found = measurements.current("camvid_small", camvid_small)
    values = {row.name: [line["numbers"]["mean_iou"] for line in found if line["row"] == row.name] for row in rows}
    if not all(values.values()):
        pytest.skip("camvid_small is not measured with the present code")
    means = {name: np.mean(each) for name, each in values.items()}
    kind = {row.name: row.config.partition(",")[2] for row in rows}
    leads = [
        100 * (mean - other)
        for name, mean in means.items()
        for against, other in means.items()
        if kind[name] == "convnet" != kind[against] and name.rpartition(", ")[2] == against.rpartition(", ")[2]
    ]
    assert f"leads the others by {min(leads):.1f} to {max(leads):.1f} points" in camvid_small.NOTE


def test_mae_ablations_note_has_the_numbers_of_its_table():
    paper = papers.at_scale(mae_ablations, "cpu")
    found = measurements.current("mae_ablations", paper)
    if not found:
        pytest.skip("mae_ablations is not measured with the present code")
    table = formats.markdown(paper, paper.METRICS, summary.lines(paper, found, {})).removesuffix(paper.NOTE)
    numbers = re.findall(r"[+-]\d+\.\d ± \d+\.\d", paper.NOTE.removesuffix(mae_ablations.PAPER))
    assert len(numbers) >= 6
    assert [number for number in numbers if f"| {number} |" not in table] == []
    scores = {(line["row"], line["seed"]): line["numbers"].get("mean_iou") for line in found}
    longer, one = ([scores[row, seed] for seed in range(paper.SEEDS)] for row in ("five times as long", "one step of pretraining"))
    mean, half = 100 * np.array(significance.interval(np.subtract(longer, one)))
    assert f"{mean:.1f} ± {half:.1f} above" in paper.NOTE


def test_the_readme_quotes_the_table_of_cracks():
    lines = measurements.current("cracks", cracks)
    mean = lambda row, score: np.mean([100 * line["numbers"][score] for line in lines if line["row"] == row])  # noqa: E731
    quoted = [f"{mean(row, score):.1f}" for score in ("iou_crack", "iou_crack_dark") for row in ("RGB", "all, vote")]
    seeds = min(sum(line["row"] == row for line in lines) for row in ("RGB", "all, vote"))
    expected = (
        f"crack IoU is {quoted[0]} from RGB and {quoted[1]} by the vote of RGB, thermal and depth; on the 20 dark ones, it is {quoted[2]} "
        f"and {quoted[3]} ({seeds} of {cracks.SEEDS} seeds)"
    )
    assert expected in " ".join((ROOT / "README.md").read_text().split())


def test_the_note_of_cracks_has_the_numbers_of_its_table():
    lines = measurements.current("cracks", cracks)
    seeds = {name: {line["seed"]: line["numbers"] for line in lines if line["row"] == name} for name in ("RGB", "all, vote")}
    complete = sorted(line["seed"] for line in lines if line["row"] == "all, fusion, pretrained")

    def mean(row, *missing, light=""):
        score = "_".join(("iou_crack", *light.split(), *(("without", *missing) if missing else ())))
        return np.mean([100 * line["numbers"][score] for line in lines if line["row"] == row and line["seed"] in complete])

    leads = [seeds["all, vote"][seed]["iou_crack"] - seeds["RGB"][seed]["iou_crack"] for seed in complete]
    alone, stacked, rigid = ("image", "thermal"), "all, stacked", "all, stacked, no dropout"
    expected = (
        "over five seeds",
        f"The vote has {mean('all, vote'):.1f}, without thermal {mean('all, vote', 'thermal'):.1f}, and from depth alone "
        f"{mean('all, vote', *alone):.1f}; RGB has {mean('RGB'):.1f}.",
        f"On dark images the vote has {mean('all, vote', light='dark'):.1f}, "
        f"from depth alone {mean('all, vote', *alone, light='dark'):.1f}, and RGB has {mean('RGB', light='dark'):.1f}.",
        f"in every seed, by {100 * min(leads):.1f} points or more",
        f"but for fusion: {mean('all, fusion', light='dark'):.1f}, and {mean('all, fusion, pretrained', light='dark'):.1f} after",
        f"falls by {mean(stacked) - mean(stacked, 'image'):.1f} points, and by {mean(rigid) - mean(rigid, 'image'):.1f} if",
        f"had no dropout: {mean(rigid) - mean(rigid, 'thermal'):.1f}.",
        f"({mean('all, fusion, pretrained'):.1f} after it, {mean('all, fusion'):.1f} before), and the U-Net on RGB leads the ViT by "
        f"{mean('RGB') - mean('RGB, ViT'):.1f}.",
    )
    note = " ".join(cracks.NOTE.split())
    assert [sentence for sentence in expected if sentence not in note] == []
    with_depth = ("RGB + depth, stacked", stacked, rigid, "all, vote")
    assert min(mean(row, light="dark") for row in with_depth) > mean("RGB", light="dark")


def test_scenes_note_has_the_leads_of_its_table():
    scores = {
        (line["row"], line["seed"]): 100 * line["numbers"]["mean_iou"]
        for line in measurements.current("scenes", scenes)
        if "mean_iou" in line["numbers"]
    }
    leads = [scores["pretrained", seed] - scores["scratch", seed] for seed in range(scenes.SEEDS)]
    assert f"by {min(leads):.1f} to {max(leads):.1f} points" in scenes.NOTE
    longer = {line["seed"]: 100 * line["numbers"]["mean_iou"] for line in measurements.current("scenes_longer", scenes_longer)}
    steps, pretrained = (
        f"{', '.join(f'{each[seed]:.1f}' for seed in range(4))} and {each[4]:.1f}"
        for each in (longer, {seed: scores["pretrained", seed] for seed in longer})
    )
    note = " ".join(scenes.NOTE.split())
    assert f"{steps} after 3,000 steps from scratch, {pretrained} pretrained" in note
    mean, half = significance.interval(np.array([scores["pretrained", seed] - longer[seed] for seed in range(scenes.SEEDS)]))
    assert f"leads by {mean:.1f} ± {half:.1f} points over five seeds" in note


def test_nuclei_labels_note_has_the_gains_of_its_table():
    scores = {(line["row"], line["seed"]): line["numbers"].get("mean_iou") for line in measurements.current("nuclei_labels", nuclei_labels)}
    spark, scratch, longer = (
        100 * np.array([scores[f"{row}, 4 labels", seed] for seed in range(nuclei_labels.MORE)])
        for row in ("SparK", "scratch", "scratch, longer")
    )
    said = []
    for ours, theirs in ((spark, scratch), (spark, longer), (longer, scratch)):
        mean, half = significance.interval(ours - theirs)
        said.append(f"{mean:.1f} ± {half:.1f}")
        if ours is spark:
            said.append(f"(p {stats.ttest_rel(ours, theirs).pvalue:.3f})")
    note = " ".join(nuclei_labels.NOTE.split())
    assert re.findall(r"\d\.\d ± \d\.\d|\(p [\d.]+\)", note) == said
    assert np.sum(np.maximum(np.maximum(spark, scratch), longer) < 45) == 1


def test_scenes_labels_note_has_the_gains_of_its_table():
    paper = papers.at_scale(scenes_labels, "gpu")
    gains = {}
    for labels in scenes_labels.LABELS:
        mae, scratch = (
            {line["seed"]: line["numbers"]["mean_iou"] for line in measurements.current("scenes_labels", paper) if line["row"] == row}
            for row in (f"MAE, {labels} labels", f"ViT scratch, {labels} labels")
        )
        gains[labels] = [mae[seed] - scratch[seed] for seed in sorted(mae.keys() & scratch.keys())]
        assert min(gains[labels]) > 0
        assert (
            f"+{100 * np.mean(gains[labels]):.1f} at {labels:,}".replace("at 8", "points of mIoU at 8") in paper.NOTE.replace("\n", " ")
            or labels == 2048
        )
    mean, half = significance.interval(gains[2048])
    assert f"+{100 * mean:.1f} ± {100 * half:.1f} at 2,048" in paper.NOTE.replace("\n", " ")
    assert {len(each) for each in gains.values()} == {2}


def test_the_learning_rate_of_an_arm_is_the_best_of_its_four_trials_on_validation():
    trials = {
        line["row"]: line["numbers"]["mean_iou"] for line in measurements.lines("scenes_labels_tuning") if "mean_iou" in line["numbers"]
    }
    for arm, fields in scenes_labels.chosen().items():
        sums = {rate: sum(trials[f"{arm}, {labels} labels, rate {rate:g}"] for labels in (32, 512)) for rate in (1e-3, 2e-3, 4e-3, 8e-3)}
        assert fields == {papers.RATE: max(sums, key=sums.get)}


def test_camvid_tiramisus_note_agrees_with_its_configs():
    for scale, network, sizes in (("cpu", "small_fc_densenet", ("48x48", "72x96")), ("paper", "unet", ("368x480",))):
        crops, whole = (cli.load_config(f"camvid_tiramisu:{network}{stage}") for stage in ("", ",full"))
        note = papers.at_scale(camvid_tiramisu, scale).NOTE
        assert f"{crops.given.epochs} " in note
        assert f"{whole.given.epochs} of whole images" in note
        for size, window in zip(sizes, (crops.window, whole.window)[-len(sizes) :], strict=True):
            assert size == "{}x{}".format(*window)
            assert size in note
        assert "from the last step of the first" in note
        assert "from each test image itself" in note
    assert "{}x{}".format(*cli.load_config("camvid_tiramisu:fc_densenet103,full").window) == "360x480"


def test_drives_note_agrees_with_its_splits():
    config = cli.load_config("drive")
    assert [config.data[split].part for split in ("train", "validation")] == [(0.0, 0.9), (0.9, 1.0)]
    assert config.window == (96, 96)
    assert not any(row.best for row in drive.ROWS)
    for scale in ("cpu", "paper"):
        note = papers.at_scale(drive, scale).NOTE
        assert "18 of the 20 official training images train and two validate" in note
        assert "The last step is scored" in note
    assert "crops of 96x96" in note


@pytest.mark.parametrize("table", spec.names("experiments.papers"))
def test_a_table_whose_rows_are_measured_has_numbers_of_each_of_its_metrics(table):
    paper, lines = spec.module("experiments.papers", table), measurements.lines(table)
    for scale in {row.scale for row in paper.ROWS}:
        if {row.name for row in paper.ROWS if row.scale == scale} <= {line["row"] for line in lines}:
            assert set(paper.METRICS) <= {name for line in lines for name in line["numbers"]}


@pytest.mark.parametrize("table", spec.names("experiments.papers"))
def test_a_note_has_a_text_for_each_scale_of_its_table(table):
    paper = spec.module("experiments.papers", table)
    for scale in {row.scale for row in paper.ROWS}:
        assert isinstance(getattr(papers.at_scale(paper, scale), "NOTE", ""), str)


def test_references_note_has_the_scores_of_its_classifiers():
    paper = papers.at_scale(reference, "cpu")
    scores = collections.defaultdict(list)
    for line in measurements.current("reference", paper):
        scores[line["row"]].append(100 * line["numbers"].get("mean_iou", math.nan))
    note, few = " ".join(paper.NOTE.split()), "32 labels, scratch"
    for start in ("scratch", "pretrained"):
        background = scores[f"classifier, 512 labels, {start}"]
        assert f"{np.mean(background):.1f} mIoU, and a train" in note
        assert np.ptp(background) < 0.01
    ours, unet = (np.mean(scores[f"{head}, {few}"]) for head in ("classifier", "classifier's rival U-Net"))
    assert f"has {ours:.1f} mIoU on the test images, where U-Net has {unet:.1f}" in note


def reference_rows():
    return {row.name: row for row in papers.at_scale(reference, "cpu").ROWS}


def reference_method(name):
    """(parameters by name, features of the coarsest stride) of the method that a row trains, by shapes alone."""
    config = plan.config_of(reference_rows()[name], reference_rows(), {})
    method, encoder = spec.build(config.method), spec.build(config.method.encoder)
    row = state.example({"image": np.zeros((1, 32, 32, 3), np.uint8), "label": np.zeros((1, 32, 32), np.int32)})
    pyramid, _ = jax.eval_shape(lambda: encoder.init_with_output(jax.random.key(0), row["image"], train=False))
    return jax.eval_shape(lambda: method.init(jax.random.key(0), row, train=False))["params"], pyramid[max(pyramid)]


@pytest.mark.parametrize("data", list(reference.DATA))
@pytest.mark.parametrize("channels", reference.CHANNELS)
def test_a_dense_and_a_convolutional_autoencoder_have_one_code_and_as_many_parameters(data, channels):
    code = f"code of {16 * channels}, {data}"
    (dense, features), (convolutional, others) = (reference_method(f"{code}: {kind}") for kind in ("dense", "convolutional"))
    assert features.size == others.size == 16 * channels
    assert tree.count(dense) == pytest.approx(tree.count(convolutional), rel=0.02)


def test_the_rivals_of_the_classifier_have_its_encoder_and_as_many_parameters_in_their_heads():
    for labels in reference.LABELS:
        rivals = (f"classifier's rival {name}, {labels} labels, scratch" for name in ("U-Net", "FCN"))
        ours, *others = (reference_method(name)[0] for name in (f"classifier, {labels} labels, scratch", *rivals))
        for other in others:
            assert tree.count(other["encoder"]) == tree.count(ours["encoder"])
            assert tree.count(other["head"]) == pytest.approx(tree.count(ours["head"]), rel=0.03)


def test_the_rows_of_the_reference_differ_in_what_they_are_called_by():
    rows = reference_rows()
    wide, narrow = (reference_method(f"code of 256, CIFAR-10: {kind}")[0] for kind in ("dense, wide", "dense"))
    assert tree.count(wide) > 25 * tree.count(narrow)
    for row in rows.values():
        if row.compare:
            ours, theirs = (plan.config_of(each, rows, {}) for each in (row, rows[row.compare]))
            assert (ours.window, ours.batch_size, ours.seed) == (theirs.window, theirs.batch_size, theirs.seed), row.name
            if row.name == "tuned":  # has the winner's fields
                found = {name: operator.attrgetter(name)(ours) for name in reference.winner()}
                assert found == reference.winner()
            elif row.command == "segment":
                assert (ours.steps, ours.optimiser) == (theirs.steps, theirs.optimiser), row.name
    none, everything = (rows[f"data: {kind}, 128 labels"] for kind in ("none", "all"))
    ours, theirs = (plan.config_of(each, rows, {}) for each in (none, everything))
    assert all("transforms" in line for line in spec.differences(ours, theirs))


def test_a_row_has_the_seeds_of_its_table_or_its_own_and_a_start_as_many():
    paper = papers.at_scale(reference, "cpu")
    seeds = {row.name: seeds_of(row, paper) for row in paper.ROWS}
    assert (seeds["example"], seeds["code of 256, scenes: dense"]) == (5, 10)
    for row in paper.ROWS:
        assert not row.init or seeds[row.init] >= seeds[row.name]
        assert not row.compare or seeds[row.compare] >= seeds[row.name]
    assert all(seeds[row.name] >= significance.ENOUGH for row in paper.ROWS)


def test_rows_are_selected_by_a_pattern_with_those_that_they_start_from():
    rows = (
        Row("a", "pretrain", "x"),
        Row("b", "segment", "y", init="a"),
        Row("b, more", "segment", "y", init="b"),
        Row("c", "segment", "y"),
    )
    assert [row.name for row in papers.selected(rows, "b,*")] == ["a", "b", "b, more"]
    assert [row.name for row in papers.selected(rows, "[bc]")] == ["a", "b", "c"]
    with pytest.raises(UserError, match=r"no row matches 'd\*'\. Set --rows to match some of a; b; b, more; c\."):
        papers.selected(rows, "d*")


def test_the_tuned_row_is_the_best_trial_on_validation_of_a_tuning_that_is_complete(tmp_path, monkeypatch):
    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path))
    assert reference.winner() == {}
    assert "tuned" not in {row.name for row in reference.ROWS}
    described = descriptions.described(reference_tuning.ROWS)
    path = descriptions.config_file(measurements.RESULTS, "reference_tuning")
    configs = {name: descriptions.store(path, each) for name, each in described.items()}
    for index, name in enumerate(reference_tuning.TRIALS):
        for seed in range(reference_tuning.SEEDS):
            line = {"row": name, "seed": seed, "split": "validation", "config": configs[name]}
            assert reference.winner() == {}
            measurements.append("reference_tuning", {**line, "numbers": {"mean_iou": 0.5 if index == 5 else 0.4 + 0.15 * (seed == index)}})
    assert reference.winner() == list(reference_tuning.TRIALS.values())[5]
    assert [row.overrides[papers.RATE] for row in reference.ROWS if row.name == "tuned"] == [2e-3], "rows are read when asked for"


def test_rows_follow_the_trials_that_are_recorded_when_they_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path))
    rates = lambda: {row.overrides.get(papers.RATE) for row in scenes_labels.ROWS if row.name == "scratch, 32 labels"}  # noqa: E731
    assert rates() == {None}
    for labels in scenes_labels.TRIALS:
        for rate in scenes_labels.RATES:
            numbers = {"mean_iou": 0.3 if rate == 4e-3 else 0.2}
            measurements.append("scenes_labels_tuning", {"row": f"scratch, {labels} labels, rate {rate:g}", "numbers": numbers})
    assert rates() == {4e-3}
    with pytest.raises(AttributeError, match="has no attribute 'ROW'"):
        scenes_labels.ROW  # noqa: B018
