"""aeseg/runs/conditions.py, against scikit-learn on predictions that are made record by record."""

import json
import re

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from aeseg.data.planes import Stack
from aeseg.data.sources.scenes import CLASSES, Scenes
from aeseg.methods import segmenter, vote
from aeseg.runs import conditions, scores
from aeseg.runs.configs import data_config, run_config, warm_adamw
from aeseg.runs.data import SPLITS
from aeseg.spec import build, spec
from experiments import evaluate, pretrain, segment
from experiments.console import cli
from experiments.console.conditions import conditions_table, further_planes

SCENES = Scenes("test", records=3, height=16, width=16)


class Night:
    """Scenes whose second is dark."""

    classes = CLASSES

    def __len__(self):
        return 3

    def __getitem__(self, index):
        record = SCENES[index]
        return {**record, "image": record["image"] // (12 if index == 1 else 1)}


RECORDS = [Night()[index] for index in range(3)]


def run_of(method, transforms=()):
    method.classes = len(CLASSES)
    scenes = {split: spec(Scenes, split=split, records=3, height=16, width=16) for split in SPLITS}
    data = data_config(scenes, evaluation_transforms=transforms, threads=1)
    return build(run_config(method, data, steps=1, batch_size=2, window=(16, 16), optimiser=warm_adamw(1e-3, 1)))


def batch(missing=()):
    stacked = {key: np.stack([record[key] for record in RECORDS]) for key in ("image", "depth", "label")}
    has = {f"has_{key}": np.full(3, key not in missing) for key in ("image", "depth")}
    ready = {"image": stacked["image"].astype(np.float32) / 255, "depth": stacked["depth"], "label": stacked["label"].astype(np.int32)}
    return {name: jnp.asarray(array) for name, array in {**ready, **has, "valid": np.ones(3, bool), "index": np.arange(3)}.items()}


def assert_iou(found, predictions, records):
    """Compare IoU of the classes that occur with scikit-learn's."""
    truth, predicted = (
        np.concatenate([np.asarray(each).reshape(-1) for each in every]) for every in ([r["label"] for r in records], predictions)
    )
    occurs = sorted({*truth.tolist(), *predicted.tolist()})
    wanted = dict(zip([CLASSES[index].name for index in occurs], jaccard_score(truth, predicted, labels=occurs, average=None), strict=True))
    assert {name: value for name, value in found.items() if value is not None} == pytest.approx(wanted)


def test_every_subset_is_scored_as_if_the_others_were_not_there():
    run = run_of(vote.recipe("tiny"))
    method = run.method
    variables = jax.jit(lambda: method.init(jax.random.key(0), batch(), train=False))()
    assert conditions.modalities(run) == ("image", "depth")
    found = conditions.of_subsets(run, scores.predictor(run, method, variables), Night(), conditions.is_dark(Night()), batch=2)
    assert [(each["present"], each["missing"]) for each in found] == [
        (["image", "depth"], []),
        (["image"], ["depth"]),
        (["depth"], ["image"]),
    ]
    for each in found:
        logits = method.apply(variables, batch(each["missing"]), method="predict_from")
        predictions = jnp.argmax(logits, axis=-1)
        assert_iou(each["iou"], predictions, RECORDS)
        assert_iou(each["light"]["dark"]["iou"], predictions[1:2], RECORDS[1:2])
        assert_iou(each["light"]["lit"]["iou"], predictions[::2], RECORDS[::2])


def test_known_scores_of_all_modalities_are_not_measured_again():
    run, calls = run_of(segmenter.recipe("tiny"), (spec(Stack),)), []

    def predict(image):
        calls.append(image[..., :3].any() and image[..., 3].any())
        return np.eye(len(CLASSES), dtype=np.float32)[image[..., 0] % len(CLASSES)]

    dark = conditions.is_dark(Night())
    measured = conditions.of_subsets(run, predict, Night(), dark, batch=1)
    assert calls == [True] * 3 + [False] * 6
    calls.clear()
    per_class = [{"name": name, "iou": iou} for name, iou in measured[0]["iou"].items()]
    known = {"mean_iou": measured[0]["mean_iou"], "per_class": per_class, "light": measured[0]["light"]}
    assert conditions.of_subsets(run, predict, Night(), dark, known, batch=1) == measured
    assert calls == [False] * 6


def test_stacked_planes_that_are_missing_are_channels_of_0():
    run = run_of(segmenter.recipe("tiny"), (spec(Stack),))
    assert conditions.modalities(run) == ("image", "depth")
    assert further_planes(run) == ("depth",)
    assert run.example()["image"].shape == (1, 16, 16, 4)
    image = jnp.concatenate([batch()["image"], jnp.rint(255 * batch()["depth"])[..., None] / 255], axis=-1)
    variables = jax.jit(lambda: run.method.init(jax.random.key(0), image, method="predict"))()
    for each in conditions.of_subsets(run, scores.predictor(run, run.method, variables), Night(), batch=2):
        kept = image * jnp.array([*["image" in each["present"]] * 3, "depth" in each["present"]], jnp.float32).reshape(1, 1, 1, 4)
        assert_iou(each["iou"], jnp.argmax(run.method.apply(variables, kept, method="predict"), axis=-1), RECORDS)


def test_a_dark_image_has_a_mean_below_a_tenth():
    assert conditions.is_dark(Night()) == [False, True, False]


def test_a_run_of_images_alone_has_one_modality_and_is_left_as_it_is():
    run = run_of(segmenter.recipe("tiny"))
    assert conditions.modalities(run) == ("image",)
    assert conditions.without(run, ()) is run


def write_pavements(root):
    """12 pictures of 24x32 whose crack is bright in depth alone; one thermal image is missing."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels", "thermal", "depth"):
        (root / name).mkdir(parents=True)
    for number in range(12):
        label = np.zeros((24, 32), np.uint8)
        label[:, number : number + 12] = 255
        planes = {name: rng.integers(0, 60, (24, 32, 3), np.uint8) for name in ("images", "thermal", "depth")}
        planes["depth"][label > 0] += 150
        planes["images"] //= 1 + 5 * (number % 2)
        planes["images"] += 40 * np.uint8(number % 2 == 0)
        for name, array in {**planes, "labels": label}.items():
            if (name, number) != ("thermal", 3):
                cv2.imwrite(str(root / name / f"{number:02d}.png"), array)
    for split, numbers in (("train", range(6)), ("val", range(6, 8)), ("test", range(8, 12))):
        (root / f"{split}.txt").write_text("".join(f"{number:02d}\n" for number in numbers))
    return root


def test_several_modalities_are_pretrained_trained_and_scored_by_command_lines(tmp_path, capsys):
    root = write_pavements(tmp_path / "pavements")
    small = (
        "--config.window=(16,16)",
        "--config.batch_size=8",
        f"--config.data.root={root}",
        "--config.steps=2",
        "--config.evaluate_every=2",
    )
    tiny = [f"--config.method.encoder.{field}" for field in ("depth=1", "width=16", "heads=2")]
    pretrained, workdir = tmp_path / "multimodal", tmp_path / "fusion"

    def call(module, *flags):
        code = cli.guarded(module.run, ["program", *map(str, flags)])
        told = capsys.readouterr()
        assert code == 0, told.err
        return told.out + told.err

    said = call(pretrain, "--config=cracks:multimodal", *small, *tiny, "--config.method.visible=4", f"--workdir={pretrained}")
    assert re.search(f"segment --config=cracks:fusion --config.data.* --init={re.escape(str(pretrained))}", said)
    said = call(segment, "--config=cracks:fusion", *small, f"--init={pretrained}", f"--workdir={workdir}")
    assert all(f"arrays of the adapters_{key}, too." in said for key in ("thermal", "depth")), said
    assert f"1 of 6 images have no entry in {root}/thermal, and count as missing it: 03." in said
    said = call(evaluate, f"--workdir={workdir}", "--lighting")
    found = json.loads((workdir / "metrics.json").read_text())["test"]
    assert len(found["subsets"]) == 7
    assert found["subsets"][0]["mean_iou"] == pytest.approx(found["mean_iou"])
    assert found["subsets"][0]["light"] == found["light"]
    assert set(found["light"]) == {"lit", "dark"}
    assert conditions_table(found) in said
    assert "image + thermal + depth" in said
