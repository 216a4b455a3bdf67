"""Properties that `soak` tests.

Image and label stay aligned under every transform.  Metrics merge in any order.  Descriptions and JSON survive a round trip.  The sliding
window of the identity is the identity.  Label files are read as they were written.  A config.json is built or refused with a sentence.

A property takes a draw of hypothesis and a folder that it may write in, and asserts on TIMES examples.
"""

import functools
import io
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from aeseg import metrics, spec
from aeseg.data import classes, coding, colours, decode, transforms
from aeseg.inference.sliding import sliding_logits
from aeseg.runs import workdir
from aeseg.types import IGNORE, UserError

from . import bad_configs, runs

Test = Callable[[Any, str], None]

TIMES = 10
"""Examples per draw."""

LEVELS = np.array([10, 200], np.uint8)
"""Grey levels of the two classes in aligned examples."""

CLASSES = 3
ROWS, H, W = 4, 5, 6
"""Shape of a batch in `merging`."""

LETTERS = "azA09_-./:\\\"'\n\t\0 é²٣𝄞\u202e"
"""Characters of names and texts: some are special in JSON, flags or paths, some are from other alphabets."""

PARTS = ("aeseg.methods", "aeseg.models.encoders", "aeseg.models.heads", "aeseg.data.sources")
"""Packages whose recipes `descriptions` tests."""

TRANSFORMS = sorted(name for name, each in vars(transforms).items() if isinstance(each, type) and each.__module__ == transforms.__name__)
"""Every geometric transform; `alignment` raises KeyError for a transform that it does not know."""


def alignment(draw: Any, folder: str) -> None:
    """No pixel has the grey level of another class than its label; outside the image the label is IGNORE."""
    given = _strategies()
    side, share = given["side"], given["share"]
    name = draw(given["transform"])
    transform = {
        "Resize": lambda: transforms.Resize(draw(side), draw(side)),
        "RandomScale": lambda: transforms.RandomScale(low=(low := 0.2 + draw(share)), high=low * (1 + draw(share))),
        "RandomCrop": lambda: transforms.RandomCrop(draw(side), draw(side)),
        "CenterCrop": lambda: transforms.CenterCrop(draw(side), draw(side)),
        "RandomResizedCrop": lambda: transforms.RandomResizedCrop(draw(side), draw(side), smallest=draw(share), largest=1.0),
        "Pad": lambda: transforms.Pad(draw(side), draw(side)),
        "PadToMultiple": lambda: transforms.PadToMultiple(draw(side)),
        "HorizontalFlip": lambda: transforms.HorizontalFlip(draw(share)),
        "VerticalFlip": lambda: transforms.VerticalFlip(draw(share)),
        "RandomRotate": lambda: transforms.RandomRotate(180 * draw(share)),
    }[name]()
    dice = np.random.default_rng(draw(given["seed"]))
    for _ in range(TIMES):
        label = dice.integers(0, 2, _size(dice, 40)).astype(np.uint8)
        record = {"image": np.repeat(LEVELS[label][..., None], 3, axis=-1), "label": label, "name": "a"}
        changed = _transformed(transform, record, dice)
        known = changed["label"] != IGNORE
        other = LEVELS[1 - np.where(known, changed["label"], 0)]
        wrong = known & (changed["image"][..., 0] == other)
        assert not wrong.any(), f"a pixel of {label.shape} has the grey level of another class than its label"
        if name in ("RandomCrop", "CenterCrop", "Pad", "PadToMultiple"):
            assert ((changed["image"] == 0).all(-1) == ~known).all(), "expected IGNORE exactly outside the image"


def colour(draw: Any, folder: str) -> None:
    """Colour transforms keep the label and the image's size and type."""
    given = _strategies()
    transform = spec.build(spec.spec(draw(given["colour"])))
    dice = np.random.default_rng(draw(given["seed"]))
    for _ in range(TIMES):
        size = _size(dice, 40)
        image, label = dice.integers(0, 256, (*size, 3)).astype(np.uint8), dice.integers(0, 2, size).astype(np.uint8)
        changed = _transformed(transform, {"image": image, "label": label, "name": "a"}, dice)
        assert (changed["label"] == label).all()
        assert changed["image"].shape == image.shape


def _size(dice: np.random.Generator, largest: int) -> tuple[int, int]:
    """Return a random height and width; a tenth of the sides is 1."""
    height, width = np.where(dice.random(2) < 0.1, 1, dice.integers(1, largest + 1, 2))
    return int(height), int(width)


def _transformed(transform: Any, record: dict[str, Any], dice: np.random.Generator) -> dict[str, Any]:
    """Apply a transform; assert that it keeps its input, draws only from the generator, and returns uint8 arrays of one size."""
    before = {name: np.copy(value) for name, value in record.items()}
    state = dice.bit_generator.state
    changed = transform(record, dice)
    assert all((np.asarray(record[name]) == before[name]).all() for name in before), "the record was changed in place"
    dice.bit_generator.state = state
    again = transform(record, dice)
    assert all(np.array_equal(changed[name], again[name]) for name in changed), "the same generator gives another record"
    assert changed["image"].shape[:2] == changed["label"].shape
    assert (changed["image"].dtype, changed["label"].dtype) == (np.uint8, np.uint8)
    return dict(changed)


def merging(draw: Any, folder: str) -> None:
    """Merged metrics of batches equal the metrics of all records, for any order and any batch sizes."""
    given = _strategies()
    records, dice = draw(given["records"]), np.random.default_rng(draw(given["seed"]))
    for _ in range(TIMES):
        label = dice.choice([0, 1, 2, IGNORE], (records, H, W)).astype(np.uint8)
        prediction = dice.integers(0, CLASSES, (records, H, W)).astype(np.uint8)
        order, whole = dice.permutation(records), np.zeros((CLASSES, CLASSES), np.int64)
        counted = label != IGNORE
        np.add.at(whole, (label[counted], prediction[counted]), 1)
        total, mean = np.zeros_like(whole), metrics.Mean(np.float32(0), np.float32(0))  # type: ignore[arg-type]
        while len(order):
            rows, order = np.split(order, [dice.integers(1, ROWS + 1)])
            padded = np.resize(rows, ROWS)
            valid = np.arange(ROWS) < len(rows)
            total += np.asarray(_confusion()(prediction[padded], label[padded], valid), np.int64)
            mean += metrics.Mean(np.float32((label[rows] == 1).sum()), np.float32(len(rows)))  # type: ignore[arg-type]
        assert (total == whole).all()
        assert (float(mean.total), float(mean.weight)) == (float((label == 1).sum()), float(records))
        assert 0 <= np.nan_to_num(metrics.mean_iou(total)) <= np.nan_to_num(metrics.mean_dice(total)) <= 1


@functools.cache
def _confusion() -> Callable[..., Any]:
    import jax

    return jax.jit(lambda prediction, label, valid: metrics.confusion(prediction, label, CLASSES, valid))


def descriptions(draw: Any, folder: str) -> None:
    """A recipe with random numbers survives JSON; `describe` of the built object returns the recipe."""
    given = _strategies()
    text, dice = _recipes()[draw(given["recipe"])], np.random.default_rng(draw(given["seed"]))
    for _ in range(TIMES):
        node = spec.from_json(text)
        for field in node:
            if type(node[field]) is float and dice.random() < 0.5:
                node[field] = float(dice.choice([0.0, 1.0, dice.random(), dice.normal()]))
        again = spec.from_json(spec.to_json(node))
        assert spec.plain(node) == spec.plain(again)
        try:
            built = spec.build(again)
        except UserError:
            continue
        assert spec.differences(node, spec.describe(built)) == []


@functools.cache
def _recipes() -> tuple[str, ...]:
    """Return the recipe of every part, as JSON."""
    names = [(package, name) for package in PARTS for name in spec.names(package) if hasattr(spec.module(package, name), "recipe")]
    return tuple(spec.to_json(spec.recipe(package, name, "tiny")) for package, name in names)


def plain_json(draw: Any, folder: str) -> None:
    """Nested dictionaries survive JSON, with any names."""
    given = _strategies()
    inner = draw(given["names"])
    leaves = draw(given["leaves"])
    for number in range(TIMES):  # nest the same names and values in another way each time
        node: dict[str, Any] = {}
        here = node
        for position, name in enumerate(inner):
            if (number >> position % 4) & 1:
                here[name] = here = {}  # type: ignore[assignment]
            else:
                here[name] = leaves[position % len(leaves)]
        again = spec.from_json(spec.to_json(ConfigDict(node)))
        assert spec.plain(again) == node
        assert spec.to_json(again) == spec.to_json(ConfigDict(node))


def sliding(draw: Any, folder: str) -> None:
    """The sliding window of the identity is the identity, at every size, window, stride, batch and weighting."""
    given = _strategies()
    window = draw(given["window"])
    stride = tuple(max(1, round(length * draw(given["share"]))) for length in window)
    weights, batch, large = draw(given["weighting"]), draw(given["batch"]), draw(given["flag"])
    dice = np.random.default_rng(draw(given["seed"]))
    for _ in range(TIMES):
        image = dice.normal(size=(*_size(dice, 24), 2)).astype(np.float32)
        largest = 4 * window[0] * window[1] if large else 0
        logits = sliding_logits(lambda pixels: np.asarray(pixels), image, window, stride, batch, weights, largest)  # type: ignore[arg-type]
        np.testing.assert_allclose(logits, image, rtol=1e-5, atol=1e-5)


def label_files(draw: Any, folder: str) -> None:
    """Labels written as grey levels, colours or a palette are read back unchanged, with their ignored pixels."""
    given = _strategies()
    number, way, dice = draw(given["classes"]), draw(given["way"]), np.random.default_rng(draw(given["seed"]))
    table = classes.table(", ".join(f"c{index} #{bytes(classes.default_colour(index)).hex()}" for index in range(number)))
    for _ in range(TIMES):
        label = dice.integers(0, number, _size(dice, 20)).astype(np.uint8)
        if way != "colours":
            label[dice.random(label.shape) < 0.2] = IGNORE
        stored = decode.stored(_png(label, way), "a.png")
        chosen = coding.decide(coding.findings([("a.png", stored)]), table, "colours" if way == "colours" else "ids")
        assert (coding.classes_of(stored, chosen, "a.png") == label).all()


def _png(label: np.ndarray, way: str) -> bytes:
    """Write a label as a PNG: "grey", "16 bits", "colours" or "palette"."""
    palette = _palette()
    picture = Image.fromarray({"16 bits": label.astype(np.uint16), "colours": palette[label]}.get(way, label))
    if way == "palette":
        picture.putpalette(palette.tobytes())
    file = io.BytesIO()
    picture.save(file, "png", compress_level=1)
    return file.getvalue()


@functools.cache
def _palette() -> np.ndarray:
    return np.array([classes.default_colour(index) for index in range(256)], np.uint8)


def config_json(draw: Any, folder: str) -> None:
    """A config.json with random values is built, or refused with a sentence."""
    given = _strategies()
    text, paths = _configs()[draw(given["kind"])]
    values, dice = draw(given["values"]), np.random.default_rng(draw(given["seed"]))
    file = os.path.join(folder, "config.json")
    for _ in range(TIMES):
        node = json.loads(text)
        for value in values:
            here, path = node, paths[dice.integers(len(paths))]
            try:
                for name in path[:-1]:
                    here = here[name]
                here[path[-1]] = value
            except (KeyError, IndexError, TypeError):  # the first value replaced a node of this path
                continue
        with open(file, "w", encoding="utf-8") as written:
            json.dump(node, written)
        try:
            spec.build_run(workdir.read_config(file))
        except UserError:
            continue


@functools.cache
def _configs() -> dict[str, tuple[str, list[tuple[Any, ...]]]]:
    """Return the configs of real runs and the paths of their values, by kind."""
    texts = {kind: runs.config(kind) for kind in runs.KINDS}
    return {kind: (text, list(bad_configs.paths(json.loads(text)))) for kind, text in texts.items()}


@functools.cache
def _strategies() -> dict[str, Any]:
    """Return all strategies, made once: hypothesis checks a new one in the time of ten draws."""
    from hypothesis import strategies as st

    text = st.text(LETTERS, max_size=5)
    leaf = st.integers(-(2**60), 2**60) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | text
    any_leaf = st.none() | st.integers() | st.floats() | leaf | st.just("aeseg.data.transforms:Resize")
    value = (
        any_leaf | st.lists(any_leaf, max_size=3) | st.dictionaries(text, any_leaf, max_size=2) | st.lists(st.lists(any_leaf, max_size=2))
    )
    return {
        "seed": st.integers(0, 2**32),
        "side": st.integers(1, 40),
        "share": st.floats(0.01, 1.0),
        "flag": st.booleans(),
        "transform": st.sampled_from(TRANSFORMS),
        "colour": st.sampled_from([colours.PhotometricJitter, colours.GaussianBlur, colours.LocalContrast]),
        "records": st.integers(0, 3 * ROWS),
        "recipe": st.integers(0, len(_recipes()) - 1),
        "names": st.lists(text.filter(lambda name: name != "target" and "." not in name), min_size=1, max_size=6, unique=True),
        "leaves": st.lists(leaf, min_size=1, max_size=4),
        "window": st.tuples(st.integers(2, 16), st.integers(2, 16)),
        "weighting": st.sampled_from(["uniform", "gaussian"]),
        "batch": st.integers(1, 4),
        "classes": st.integers(2, 12),
        "way": st.sampled_from(["grey", "16 bits", "colours", "palette"]),
        "kind": st.sampled_from(sorted(runs.KINDS)),
        "values": st.lists(value, min_size=1, max_size=2),
    }
