import json
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import multihost_utils

from aeseg.boundaries import boundary_f1, boundary_overlap, reference_boundary_f1
from aeseg.inference.evaluate import autoencoder, records, scores, segmentation
from aeseg.inference.measures import BOUNDARIES, CALIBRATION, REFERENCE_BOUNDARIES
from aeseg.metrics import Mean
from aeseg.types import IGNORE, UserError


def red_is_class(images):
    """Return logits whose argmax is the value of the red channel."""
    return np.eye(3, dtype=np.float32)[np.minimum(images[..., 0], 2)]


def record(label, prediction):
    image = np.zeros((*np.shape(label), 3), np.uint8)
    image[..., 0] = prediction
    return {"image": image, "label": np.array(label, np.uint8), "name": "one"}


SOURCE = (
    record([[0, 0, 1], [1, IGNORE, 1]], [[0, 1, 1], [1, 2, 0]]),
    record([[1], [0], [IGNORE], [1], [0]], [[1], [0], [2], [0], [0]]),
)


@pytest.mark.parametrize("window", [(2, 3), (1, 1), (4, 4)])
@pytest.mark.parametrize("batch", [1, 4])
def test_scores_come_from_one_confusion_matrix_over_all_pixels(window, batch):
    found = segmentation(red_is_class, SOURCE, (), window, ("a", "b", "c"), batch=batch)
    assert found["confusion"] == [[3, 1, 0], [2, 3, 0], [0, 0, 0]]
    assert found["per_class"][0]["iou"] == pytest.approx(3 / 6)
    assert found["per_class"][1]["iou"] == pytest.approx(3 / 6)
    assert found["per_class"][2] == {"name": "c", "iou": None, "dice": None, "accuracy": None, "pixels": 0}
    assert (found["mean_iou"], found["classes_averaged"]) == (pytest.approx(1 / 2), 2)
    assert found["mean_iou_reference"] == pytest.approx(1 / 3)
    assert found["pixel_accuracy"] == pytest.approx(6 / 9)
    assert found["class_accuracy"] == pytest.approx((3 / 4 + 3 / 5) / 2)
    assert found["mean_dice"] == pytest.approx(6 / 9)
    assert found["frequency_weighted_iou"] == pytest.approx(1 / 2)
    assert (found["images"], found["pixels"], found["ignored_pixels"]) == (2, 9, 2)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("flip", [False, True])
def test_a_network_with_nan_outputs_has_no_score(wrong, flip):
    """The argmax of NaN is class 0, which is often right."""

    def broken(images):
        logits = red_is_class(images)
        logits[0, 0, 0, 1] = wrong
        return logits

    with pytest.raises(UserError, match=r"numbers for every pixel of one; \d+ of the network's 18 values are NaN or infinite. Use"):
        segmentation(broken, SOURCE, (), (2, 3), ("a", "b", "c"), flip=flip)


def test_boundary_f1_is_a_mean_over_images_and_boundary_iou_a_ratio_of_sums_over_all_pixels():
    found = segmentation(red_is_class, SOURCE, (), (2, 3), ("a", "b", "c"), measures=(BOUNDARIES,))
    maps = [(one["image"][..., 0].astype(np.int32), one["label"].astype(np.int32), 3) for one in SOURCE]
    f1 = np.array([boundary_f1(*one) for one in maps])[:, :2]  # the third class is never labelled
    intersection, union = sum(boundary_overlap(*one) for one in maps)
    assert not np.isnan(f1).any()
    assert [entry["boundary_f1"] for entry in found["per_class"]] == [*f1.mean(axis=0), None]
    assert [entry["boundary_iou"] for entry in found["per_class"]] == [intersection[0] / union[0], intersection[1] / union[1], None]
    assert found["mean_boundary_f1"] == pytest.approx(f1.mean())
    assert found["mean_boundary_iou"] == pytest.approx((intersection / np.maximum(union, 1))[:2].mean())
    assert json.loads(json.dumps(found)) == found


def test_the_reference_rule_of_boundary_f1_averages_the_classes_of_an_image_first_and_leaves_out_void_images():
    right, half = record([[0, 0, 0, 0, 1]], [[0, 0, 0, 0, 1]]), record([[0, 0, 0, 1, 1]], [[0, 0, 0, 1, 2]])
    void = record([[IGNORE] * 5], [[0, 1, 0, 1, 2]])
    source, measures = (right, right, half, void), (BOUNDARIES, REFERENCE_BOUNDARIES)
    found = segmentation(red_is_class, source, (), (1, 5), ("a", "b", "c"), measures=measures)
    of_half = reference_boundary_f1(half["image"][..., 0].astype(np.int32), half["label"].astype(np.int32), 3)
    assert of_half.tolist() == [1, pytest.approx(2 / 3), 0]
    assert found["mean_boundary_f1_reference"] == pytest.approx((1 + 1 + of_half.mean()) / 3)
    assert found["mean_boundary_f1"] > found["mean_boundary_f1_reference"]
    assert json.loads(json.dumps(found)) == found


def test_images_without_outlines_have_no_boundary_scores():
    found = segmentation(red_is_class, [record([[0, 0]], [[0, 0]])], (), (1, 2), ("a", "b", "c"), measures=(BOUNDARIES,))
    assert (found["mean_boundary_f1"], found["mean_boundary_iou"]) == (None, 1)


def test_calibration_counts_only_labelled_pixels():
    confidence = np.exp(1) / (np.exp(1) + 2)  # of logits 1, 0, 0; 6 of 9 labelled pixels are right
    found = segmentation(red_is_class, SOURCE, (), (2, 3), ("a", "b", "c"), measures=(CALIBRATION,))
    assert found["expected_calibration_error"] == pytest.approx(abs(6 / 9 - confidence))


def test_processes_with_and_without_images_sum_to_the_scores_of_one_process(monkeypatch):
    arguments = (red_is_class, SOURCE, (), (2, 3), ("a", "b", "c"))
    expected = segmentation(*arguments, measures=(BOUNDARIES, REFERENCE_BOUNDARIES, CALIBRATION))
    sent: list[list[np.ndarray]] = []

    def gathered(bits):
        """Gather the leaves that this process and earlier processes sent."""
        leaf = len(sent[-1])
        sent[-1].append(bits)
        return np.stack([leaves[leaf] for leaves in sent])

    monkeypatch.setattr(multihost_utils, "process_allgather", gathered)
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    for process in range(3):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        sent.append([])
        found = segmentation(*arguments, measures=(BOUNDARIES, REFERENCE_BOUNDARIES, CALIBRATION))
    assert found == expected


HOST = """
import json, sys, jax
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]), initialization_timeout=300)
from tests.inference.evaluate_test import scored_in_parts
print(json.dumps(scored_in_parts()))
"""


def scored_in_parts():
    """Return the scores of three images, of one image, and the indices that this host has seen."""
    third = record([[2, 2, 0], [1, IGNORE, 1]], [[2, 0, 0], [1, 1, 0]])
    seen, found = [], []
    for source in ((*SOURCE, third), SOURCE[:1]):
        asked = {"measures": (BOUNDARIES, REFERENCE_BOUNDARIES, CALIBRATION), "seen": lambda index, *_: seen.append(index)}
        found.append(segmentation(red_is_class, source, (), (2, 3), ("a", "b", "c"), **asked))
    return {"found": found, "seen": seen}


def test_two_hosts_give_the_scores_of_one_host():
    """Of three images, one host has two.  Of a single image, one host has none, and must wait for the other's counts."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    commands = [[sys.executable, "-c", HOST, coordinator, rank] for rank in "01"]
    alone = {**os.environ, "XLA_FLAGS": ""}  # a host with one device
    hosts = [subprocess.Popen(command, env=alone, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for command in commands]
    try:
        printed = [host.communicate(timeout=900) for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    assert [host.returncode for host in hosts] == [0, 0], printed
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in printed)
    assert (first["seen"], second["seen"]) == ([0, 2, 0], [1])
    assert first["found"] == second["found"]
    one = scored_in_parts()["found"]
    rounded = jax.tree.map(
        lambda leaf: pytest.approx(leaf, rel=1e-12) if isinstance(leaf, float) else leaf, one
    )  # the order of sums differs
    assert first["found"] == rounded


def test_views_are_averaged_before_the_argmax():
    def left_is_class_0(images):
        """Class 0 is certain in the left column, and class 2 is likely in the others."""
        return np.broadcast_to(np.float32([[9, 0, 0], [0, 0, 1], [0, 0, 1]]), (*images.shape[:3], 3))

    source = [record([[0, 2, 0]], [[0, 0, 0]])]
    assert segmentation(left_is_class_0, source, (), (1, 3), ("a", "b", "c"))["confusion"][0] == [1, 0, 1]
    found = segmentation(left_is_class_0, source, (), (1, 3), ("a", "b", "c"), flip=True)
    assert found["confusion"] == [[2, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_each_image_is_seen_once_with_its_prediction_in_order():
    seen = []
    segmentation(red_is_class, SOURCE, (), (2, 2), ("a", "b", "c"), batch=3, seen=lambda *one: seen.append(one))
    assert [index for index, *_ in seen] == [0, 1]
    for (_, one, prediction, _), expected in zip(seen, SOURCE, strict=True):
        assert one["label"].shape == prediction.shape
        np.testing.assert_array_equal(prediction, expected["image"][..., 0])


def test_transforms_act_on_image_and_label_before_they_are_scored():
    def left_column(one, rng):
        return {**one, "image": one["image"][:, :1], "label": one["label"][:, :1]}

    assert segmentation(red_is_class, SOURCE, (left_column,), (2, 2), ("a", "b", "c"))["pixels"] == 2 + 4


def test_a_label_without_a_class_is_named_with_its_record():
    with pytest.raises(UserError, match="one holds the label 2; the model has classes 0 to 1, and 255"):
        segmentation(red_is_class, [record([[2]], [[0]])], (), (1, 1), ("a", "b"))
    with pytest.raises(UserError, match="one has no label"):
        segmentation(red_is_class, [{"image": np.zeros((1, 1, 3), np.uint8), "name": "one"}], (), (1, 1), ("a", "b"))
    with pytest.raises(UserError, match="all pixels of the 1 images are ignored"):
        segmentation(red_is_class, [record([[IGNORE]], [[0]])], (), (1, 1), ("a", "b", "c"))


def test_a_perfect_prediction_scores_one():
    found = scores(np.diag([5, 0, 2]).astype(np.int64), ("a", "b", "c"))
    for name in ("mean_iou", "pixel_accuracy", "class_accuracy", "mean_dice", "frequency_weighted_iou"):
        assert found[name] == 1.0


def test_means_of_an_autoencoder_are_divided_once():
    batches = [{"valid": np.array([True, True]), "error": 1.0}, {"valid": np.array([True, False]), "error": 4.0}]

    def means(batch):
        weight = jnp.float32(batch["valid"].sum())
        return {"squared_error": Mean(jnp.float32(batch["error"]) * weight, weight), "psnr": Mean(jnp.float32(0), jnp.float32(0))}

    seen = []
    found = autoencoder(means, batches, {"squared_error": 0.5}, seen.append)
    assert found == {"squared_error": 2.0, "psnr": 0.0, "loss": 1.0, "images": 3}
    assert seen == [2, 3]


def test_records_come_in_order_and_each_process_reads_its_share():
    source = [{"image": np.zeros((1, 1, 3), np.uint8), "number": index} for index in range(23)]

    def drawn(one, rng):
        return {"number": one["number"], "drawn": rng.random()}

    everything = list(records(source, (drawn,), threads=3))
    assert [one["number"] for one in everything] == list(range(23))
    shares = [list(records(source, (drawn,), 2, process, 3)) for process in range(3)]
    assert sorted((one for share in shares for one in share), key=lambda one: one["number"]) == everything
