"""Papers of the study: cells of a design differ only in their factors, and labels and steps are those that their names say."""

import json

import pytest

from aeseg import spec
from experiments import papers
from experiments.papers import cracks_labels, fine_tuning, nuclei_labels, scenes_labels_small, scenes_labels_small_tuning
from experiments.recorded import descriptions


def rows(paper):
    return {row.name: row for row in paper.ROWS}


def total_steps(paper, row):
    """The segmentation steps of a row, with those of the run that it continues."""
    known = rows(paper)
    before = known[row.init] if row.overrides.get("transfer") == "continue" else None
    return row.overrides["steps"] + (total_steps(paper, before) if before else 0)


def test_every_cell_of_fine_tuning_has_the_steps_of_its_setting_and_is_compared_with_its_scratch():
    known = rows(fine_tuning)
    for setting in fine_tuning.SETTINGS:
        cells = [
            f"{start}{decoder}{decay}" for start in fine_tuning.STARTS for decoder in fine_tuning.DECODERS for decay in fine_tuning.DECAYS
        ]
        assert len(cells) == 12
        for cell in ("scratch", *cells):
            row = known[f"{setting.name}: {cell}"]
            assert total_steps(fine_tuning, row) == setting.steps
            assert row.overrides[papers.RATE] == known[f"{setting.name}: scratch"].overrides[papers.RATE]
            assert row.compare == ("" if cell == "scratch" else f"{setting.name}: scratch")


def path(row, known):
    """The fields of a row and of the runs that it starts from."""
    while row:
        yield row.command, row.overrides
        row = known.get(row.init)


@pytest.mark.parametrize(
    ("contrast", "pairs", "fields"),
    [
        ("LP-FT", 16, {"optimiser.freeze", "method.frozen_encoder", "statistics", "transfer", "steps", "evaluate_every", "save_every"}),
        ("decoder", 24, {"transfer"}),
        ("re-estimated averages", 16, {"statistics"}),
        ("layer decay", 24, {"optimiser.layer_decay"}),
    ],
)
def test_both_cells_of_a_contrast_differ_in_its_factor_alone(contrast, pairs, fields):
    known = rows(fine_tuning)
    assert len(fine_tuning.PRIMARY[contrast]) == pairs
    for ours, theirs in fine_tuning.PRIMARY[contrast]:
        one, other = ([dict(each) for _, each in path(known[name], known)] for name in (ours, theirs))
        if contrast == "LP-FT":  # one more run: compare the last runs, and all pretrainings
            one, other = [one[0], one[-1]], [other[0], other[-1]]
        assert len(one) == len(other)
        different = {name for a, b in zip(one, other, strict=True) for name in a.keys() | b.keys() if a.get(name) != b.get(name)}
        assert different
        assert different <= fields, (ours, theirs)


@pytest.mark.parametrize(("paper", "train"), [(nuclei_labels, 234), (cracks_labels, 180)])
def test_a_row_has_the_labelled_images_of_its_name_and_differs_from_scratch_only_in_its_start(paper, train):
    known = rows(paper)
    for row in known.values():
        if row.command == "pretrain":
            assert "data.fraction" not in row.overrides, "all training images are unlabelled images"
            continue
        labels = int(row.name.rpartition(", ")[2].split()[0])
        assert round(row.overrides["data.fraction"] * train) == labels
        allowed = {"transfer", papers.RATE, *(("steps", "evaluate_every", "save_every") if "longer" in row.name else ())}
        if row.compare:
            other = known[row.compare].overrides
            assert {name for name in row.overrides.keys() | other.keys() if row.overrides.get(name) != other.get(name)} <= allowed
            assert row.compare == f"scratch, {nuclei_labels.named(labels)}"
    assert known["SparK, selective pretraining"].overrides == {"method.sampler.target": "aeseg.selective:Selective"}


def test_arms_of_scenes_labels_small_differ_in_their_start_and_their_tuned_rate():
    known = rows(scenes_labels_small)
    for arm in scenes_labels_small_tuning.ARMS:
        scratch = scenes_labels_small_tuning.SCRATCH[arm.encoder]
        for labels in scenes_labels_small.LABELS:
            row, other = known[f"{arm.name}, {labels} labels"], known[f"{scratch}, {labels} labels"]
            assert row.config == other.config
            different = {
                name for name in row.overrides.keys() | other.overrides.keys() if row.overrides.get(name) != other.overrides.get(name)
            }
            assert different <= {"transfer", papers.RATE}
            assert row.compare == (scratch if arm.method else "") + (f", {labels} labels" if arm.method else "")


@pytest.mark.parametrize("paper", [nuclei_labels, cracks_labels, fine_tuning, scenes_labels_small, scenes_labels_small_tuning])
def test_a_row_has_as_many_seeds_as_the_rows_that_start_from_it_and_tiers_name_rows(paper):
    known = rows(paper)
    seeds = {name: row.seeds or paper.SEEDS for name, row in known.items()}
    assert all(seeds[row.name] <= seeds[row.init] for row in known.values() if row.init)
    named = {name for names, _ in getattr(paper, "TIERS", ()) for name in names}
    assert named <= set(known), sorted(named - set(known))


@pytest.mark.parametrize("paper", [nuclei_labels, cracks_labels, fine_tuning, scenes_labels_small])
def test_the_method_of_every_row_is_built(paper):
    for description in {repr(each): each for each in descriptions.described(paper.ROWS).values()}.values():
        spec.build(spec.from_json(json.dumps(description["config"]["method"])))
