"""Property tests with hypothesis: properties that must be true for every example.

Image and label stay aligned under every transform.  Metrics merge in any order.  Descriptions and JSON survive a round trip.  The sliding
window of the identity is the identity.  Label files are read as they were written.  A config.json is built or refused with a sentence.
"""

import functools
import io
import json
import os
import zlib
from collections.abc import Callable, Iterator
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
from .journal import Case, Outcome
from .runs import Setting

CHUNK = 1000
"""Examples per case."""

LEVELS = np.array([10, 200], np.uint8)
"""Grey levels of the two classes in aligned examples."""

CLASSES = 3
ROWS, H, W = 4, 5, 6
"""Shape of a batch in `merging`."""

LETTERS = "azA09_-./:\\\"'\n\t\0 é²٣𝄞\u202e"
"""Characters of names and texts: some are special in JSON, flags or paths, some are from other alphabets."""

PARTS = ("aeseg.methods", "aeseg.models.encoders", "aeseg.models.heads", "aeseg.data.sources")
"""Packages whose recipes `descriptions` tests."""

Test = Callable[[Any, str], None]
"""Draws an example with hypothesis's `data.draw` and asserts; it may write in the given folder."""


def cases(setting: Setting) -> Iterator[Case]:
    """Yield a case for each thousand examples of a property; the reduced soak tries twenty examples per property."""
    try:
        import hypothesis
    except ImportError as error:
        raise UserError("Property tests need hypothesis, which is not installed. Run pip install -e '.[soak]'.") from error
    settings = hypothesis.settings(
        max_examples=CHUNK if setting.scale == "full" else 20,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )

    def holds(test: Test, number: int) -> Outcome:
        tried = 0

        def example(data: Any) -> None:
            nonlocal tried
            tried += 1
            test(data.draw, setting.folder)

        given = hypothesis.given(hypothesis.strategies.data())(settings(example))
        try:
            hypothesis.seed(zlib.crc32(f"{setting.seed} {test.__name__} {number}".encode()))(given)()
        except Exception as error:
            notes = " ".join(getattr(error, "__notes__", ()))
            return Outcome({"examples": tried}, (f"{type(error).__name__}: {error} {notes}"[:600],))
        return Outcome({"examples": tried})

    for test, chunks in TESTS.items():
        for number in range(chunks if setting.scale == "full" else 1):
            yield Case(f"{test.__name__} {number}", lambda test=test, number=number: holds(test, number))


def alignment(draw: Any, folder: str) -> None:
    """Geometric transforms keep image and label aligned; outside the image the label is IGNORE."""
    from hypothesis import strategies as st

    side, fraction = st.integers(1, 40), st.floats(0.01, 1.0)
    transform = draw(st.sampled_from(TRANSFORMS))
    made = {
        "Resize": lambda: transforms.Resize(draw(side), draw(side)),
        "RandomScale": lambda: transforms.RandomScale(low=(low := draw(st.floats(0.2, 2))), high=low * draw(st.floats(1, 2))),
        "RandomCrop": lambda: transforms.RandomCrop(draw(side), draw(side)),
        "CenterCrop": lambda: transforms.CenterCrop(draw(side), draw(side)),
        "RandomResizedCrop": lambda: transforms.RandomResizedCrop(draw(side), draw(side), smallest=draw(fraction), largest=1.0),
        "Pad": lambda: transforms.Pad(draw(side), draw(side)),
        "PadToMultiple": lambda: transforms.PadToMultiple(draw(side)),
        "HorizontalFlip": lambda: transforms.HorizontalFlip(draw(fraction)),
        "VerticalFlip": lambda: transforms.VerticalFlip(draw(fraction)),
        "RandomRotate": lambda: transforms.RandomRotate(draw(st.floats(0, 180))),
    }[transform]()
    dice = np.random.default_rng(draw(st.integers(0, 2**32)))
    label = dice.integers(0, 2, (draw(side), draw(side))).astype(np.uint8)
    record = {"image": np.repeat(LEVELS[label][..., None], 3, axis=-1), "label": label, "name": "a"}
    changed = transform_checked(made, record, dice)
    known = changed["label"] != IGNORE
    other = LEVELS[1 - np.where(known, changed["label"], 0)]
    assert not (known & (changed["image"][..., 0] == other)).any(), "a pixel has the grey level of another class than its label"
    if transform in ("RandomCrop", "CenterCrop", "Pad", "PadToMultiple"):
        assert ((changed["image"] == 0).all(-1) == ~known).all(), "the label is not IGNORE exactly outside the image"


def colour(draw: Any, folder: str) -> None:
    """Colour transforms keep the label, and the size and type of the image."""
    from hypothesis import strategies as st

    kinds = [colours.PhotometricJitter, colours.GaussianBlur, colours.LocalContrast]
    made = spec.build(spec.spec(draw(st.sampled_from(kinds))))
    dice = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    image, label = dice.integers(0, 256, (*size, 3)).astype(np.uint8), dice.integers(0, 2, size).astype(np.uint8)
    changed = transform_checked(made, {"image": image, "label": label, "name": "a"}, dice)
    assert (changed["label"] == label).all()
    assert changed["image"].shape == image.shape


def transform_checked(transform: Any, record: dict[str, Any], dice: np.random.Generator) -> dict[str, Any]:
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
    from hypothesis import strategies as st

    dice = np.random.default_rng(draw(st.integers(0, 2**32)))
    records = draw(st.integers(0, 3 * ROWS))
    label = dice.choice([0, 1, 2, IGNORE], (records, H, W)).astype(np.uint8)
    prediction = dice.integers(0, CLASSES, (records, H, W)).astype(np.uint8)
    order, whole = dice.permutation(records), np.zeros((CLASSES, CLASSES), np.int64)
    counted = label != IGNORE
    np.add.at(whole, (label[counted], prediction[counted]), 1)
    total, mean = np.zeros_like(whole), metrics.Mean(np.float32(0), np.float32(0))  # type: ignore[arg-type]
    while len(order):
        rows, order = np.split(order, [draw(st.integers(1, ROWS))])
        padded = np.resize(rows, ROWS)
        valid = np.arange(ROWS) < len(rows)
        total += np.asarray(metrics.confusion(prediction[padded], label[padded], CLASSES, valid), np.int64)
        mean += metrics.Mean(np.float32((label[rows] == 1).sum()), np.float32(len(rows)))  # type: ignore[arg-type]
    assert (total == whole).all()
    assert (float(mean.total), float(mean.weight)) == (float((label == 1).sum()), float(records))
    assert 0 <= np.nan_to_num(metrics.mean_iou(total)) <= np.nan_to_num(metrics.mean_dice(total)) <= 1


def descriptions(draw: Any, folder: str) -> None:
    """A recipe with random numbers survives JSON; `describe` of the built object returns the recipe."""
    from hypothesis import strategies as st

    package = draw(st.sampled_from(PARTS))
    name = draw(st.sampled_from([each for each in spec.names(package) if hasattr(spec.module(package, each), "recipe")]))
    node = spec.recipe(package, name, "tiny")
    for field in node:
        if type(node[field]) is float and draw(st.booleans()):
            node[field] = draw(st.floats(0.0, 1.0))
    again = spec.from_json(spec.to_json(node))
    assert spec.differences(node, again) == []
    try:
        built = spec.build(again)
    except UserError:
        return
    assert spec.differences(node, spec.describe(built)) == []


def plain_json(draw: Any, folder: str) -> None:
    """Nested dictionaries survive JSON, with any names."""
    from hypothesis import strategies as st

    names = st.text(LETTERS, max_size=5).filter(lambda name: name != "target" and "." not in name)
    leaves = st.integers(-(2**60), 2**60) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(LETTERS, max_size=5)
    node = draw(st.dictionaries(names, st.recursive(leaves, lambda inner: st.dictionaries(names, inner, max_size=3), max_leaves=6)))
    again = spec.from_json(spec.to_json(ConfigDict(node)))
    assert spec.plain(again) == node
    assert spec.to_json(again) == spec.to_json(ConfigDict(node))


def sliding(draw: Any, folder: str) -> None:
    """The sliding window of the identity is the identity, at every size, window, stride, batch and weighting."""
    from hypothesis import strategies as st

    side = st.integers(1, 30)
    window = draw(st.tuples(st.integers(2, 16), st.integers(2, 16)))
    stride = tuple(draw(st.integers(1, length)) for length in window)
    dice = np.random.default_rng(draw(st.integers(0, 2**32)))
    image = dice.normal(size=(draw(side), draw(side), 2)).astype(np.float32)
    weights, batch = draw(st.sampled_from(["uniform", "gaussian"])), draw(st.integers(1, 4))
    largest = draw(st.sampled_from([0, 4 * window[0] * window[1]]))
    logits = sliding_logits(lambda pixels: np.asarray(pixels), image, window, stride, batch, weights, largest)  # type: ignore[arg-type]
    np.testing.assert_allclose(logits, image, rtol=1e-5, atol=1e-5)


def label_files(draw: Any, folder: str) -> None:
    """Labels written as grey levels, colours or a palette are read back unchanged, with their ignored pixels."""
    from hypothesis import strategies as st

    dice = np.random.default_rng(draw(st.integers(0, 2**32)))
    number, way = draw(st.integers(2, 12)), draw(st.sampled_from(["grey", "16 bits", "colours", "palette"]))
    table = classes.table(", ".join(f"c{index} #{bytes(classes.default_colour(index)).hex()}" for index in range(number)))
    label = dice.integers(0, number, draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))).astype(np.uint8)
    if way != "colours":
        label[dice.random(label.shape) < 0.2] = IGNORE
    palette = np.array([classes.default_colour(index) for index in range(256)], np.uint8)
    picture = {
        "grey": lambda: Image.fromarray(label),
        "16 bits": lambda: Image.fromarray(label.astype(np.uint16)),
        "colours": lambda: Image.fromarray(palette[label]),
        "palette": lambda: Image.fromarray(label),
    }[way]()
    if way == "palette":
        picture.putpalette(palette.ravel().tolist())
    file = io.BytesIO()
    picture.save(file, "png")
    stored = decode.stored(file.getvalue(), "a.png")
    chosen = coding.decide(coding.findings([("a.png", stored)]), table, "colours" if way == "colours" else "ids")
    assert (coding.classes_of(stored, chosen, "a.png") == label).all()


def config_json(draw: Any, folder: str) -> None:
    """A config.json with random values is built, or refused with a sentence."""
    from hypothesis import strategies as st

    good = json.loads(_good()[draw(st.sampled_from(sorted(runs.KINDS)))])
    leaves = (
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(LETTERS, max_size=4) | st.just("aeseg.data.transforms:Resize")
    )
    values = st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(LETTERS, max_size=3), inner, max_size=2)
    )
    for path in draw(st.lists(st.sampled_from(list(bad_configs.paths(good))), min_size=1, max_size=2)):
        here = good
        try:
            for name in path[:-1]:
                here = here[name]
            here[path[-1]] = draw(values)
        except (KeyError, IndexError, TypeError):  # the first change replaced a node of this path
            continue
    file = os.path.join(folder, "config.json")
    with open(file, "w", encoding="utf-8") as written:
        json.dump(good, written)
    try:
        spec.build_run(workdir.read_config(file))
    except UserError:
        return


@functools.cache
def _good() -> dict[str, str]:
    """Return the configs of real runs, by kind."""
    return {kind: runs.config(kind) for kind in runs.KINDS}


TRANSFORMS = sorted(name for name, each in vars(transforms).items() if isinstance(each, type) and each.__module__ == transforms.__name__)
"""Every geometric transform; `alignment` raises KeyError for a transform that it does not know."""

TESTS: dict[Test, int] = {
    alignment: 35,
    colour: 10,
    merging: 10,
    descriptions: 10,
    plain_json: 10,
    sliding: 10,
    label_files: 10,
    config_json: 10,
}
"""Cases per property, each of a thousand examples: more than 100,000 examples in total."""
