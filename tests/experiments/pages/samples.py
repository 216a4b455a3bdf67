"""A page of an invented run and comparison, with names that try to inject code."""

import json

import numpy as np

from aeseg.data.sources.scenes import Scenes
from aeseg.runs.configs import data_config, run_config, warm_adamw
from aeseg.runs.data import SPLITS
from aeseg.spec import plain, recipe, spec
from aeseg.types import Class
from experiments.pages import comparison_sections, comparisons, page, pictures, run_sections, runs

EVIL = "<img src=x onerror=\"window.attacked=1\"> & 'a' </script><script>window.attacked=1</script>"
CLASSES = (Class("sky", (0, 0, 0)), Class(EVIL, (200, 30, 30)), Class("tree", (30, 160, 60)))
SCORES = {"b": (0.9, 0.2, None), "a10": (0.5, 0.5, 0.5), "a9": (0.4, None, 0.8), EVIL: (0.1, 0.3, 0.2)}
"""The IoU of each class in each image."""


def segmented(name, iou):
    """Return a card of an image whose right half is wrong."""
    label = np.zeros((24, 32), np.int32)
    label[:, 20:] = 2
    label[0] = 255
    prediction = np.where(np.arange(32) < 16, label, 1)
    image = np.random.default_rng(len(name)).integers(0, 256, (24, 32, 3), np.uint8)
    known = [value for value in iou if value is not None]
    return runs.Segmented(name, float(np.mean(known)), iou, 0.5, pictures.layers(image, label, prediction, CLASSES))


def judged():
    """Four images of three classes."""
    cards = tuple(sorted((segmented(name, iou) for name, iou in SCORES.items()), key=lambda card: card.score))
    per_class = [{"name": item.name, "iou": 0.5, "dice": 0.6, "accuracy": 0.7, "pixels": 10} for item in CLASSES]
    scores = {"mean_iou": 0.5, "pixel_accuracy": 0.9, "expected_calibration_error": 0.02, "per_class": per_class, "pixels": 30}
    scores["confusion"] = [[8, 1, 1], [0, 10, 0], [5, 0, 5]]
    between = np.array([[0.4, 0.6], [0.3, 0.7], [np.nan, np.nan]])
    return runs.Judged("test", 4, 4, scores, cards, CLASSES, between, (0.4, 0.6), ((0.6, 0.5, 100), (0.9, 0.95, 900)))


def run_page(name="run", **fields):
    """Return a segmenter's page."""
    scenes = {split: spec(Scenes, split=split) for split in SPLITS}
    method = recipe("aeseg.methods", "segmenter", "tiny")
    config = run_config(method, data_config(scenes), steps=9, batch_size=2, window=(16, 16), optimiser=warm_adamw(1e-3, 9), next=EVIL)
    curves = {"train/loss": [(1, 2.0), (5, 1.0)], "validation/mean_iou": [(5, 0.5)], EVIL: [(1, 1.0)]}
    evaluations = [{"split": "test", "step": 9, "mean_iou": 0.5, "images": 4, "windows": {"stride": [2, 2]}, "date": EVIL}]
    return runs.RunPage(name, f"runs/{name}", plain(config), curves, evaluations, 9, judged(), **fields)


def write_comparison(folder):
    """Write the files of a comparison: two arms, three seeds, two numbers of labels."""
    gains = {
        "labels": 4,
        "seeds": 3,
        "gain": 0.05,
        "low": 0.01,
        "high": 0.09,
        "p": 0.02,
        "holm": 0.04,
        "smallest": 0.03,
        "verdict": "gains",
    }
    lines = []
    for arm, against, lift in (("scratch", "", 0.0), (EVIL, "scratch", 0.05)):
        for labels, base in ((4, 0.5), (16, 0.7)):
            for seed in range(3):
                miou = base + lift + 0.01 * seed
                scores = {"miou": miou, "iou": {"sky": miou, "tree": None}}
                lines.append(
                    {"arm": arm, "against": against, "labels": labels, "seed": seed, "steps": 3, "metrics": scores, "seconds": 1.0}
                )
    folder.mkdir(exist_ok=True)
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arms = [{"arm": EVIL, "against": "scratch", "minutes": 1.0, "overall": gains, "by_labels": [gains], "longer": None}]
    arms[0]["by_labels"][0]["worth"] = {"labels": 34, "low": 28, "high": 41}
    told = {
        "headline": EVIL,
        "sentences": ["It gains."],
        "warnings": [EVIL],
        "next": "compare",
        "labels": [4, 16],
        "arms": arms,
        "commands": {},
    }
    (folder / "verdict.json").write_text(json.dumps(told))
    (folder / "plan.json").write_text(json.dumps({"lowered": [EVIL], "seeds": [0, 1, 2]}))
    (folder / "health.jsonl").write_text(json.dumps({"arm": EVIL, "step": 1, "probe": 0.5, "rank": 3.0, "loss": 1.0}) + "\n")
    return folder


def whole(folder):
    """Return the text of a page with two runs and a comparison."""
    pages = [run_page("run"), run_page("other", missing=EVIL)]
    sections = [("runs", "Runs", run_sections.compared(pages)), ("curves", "Curves", run_sections.overlaid(pages))]
    sections += [(f"run{number}", one.name, run_sections.run(one, f"run{number}")) for number, one in enumerate(pages)]
    comparison = comparisons.gather(str(write_comparison(folder / "comparison")))
    sections.append(("comparison0", "comparison", comparison_sections.comparison(comparison, 0)))
    return page.page(f"title {EVIL}", sections, "commit abc")
