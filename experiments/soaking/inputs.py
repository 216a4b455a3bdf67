"""Bad inputs: the command prints one sentence and exits with 2, or counts and skips the input, in bounded time and memory."""

import functools
import os
import random
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import save_file

from aeseg.importers import families, vit
from aeseg.importers.rules import to_foreign

from . import bad_configs, bad_files, runs
from .journal import Case, Outcome
from .runs import Setting
from .worker import Lost, Worker

SECONDS = 60.0
"""Time limit of a command with a bad input."""

MEGABYTES = 3_000
"""Memory limit of a command with a bad input."""

CONFIGS = 60
"""Number of configs with one bad field."""

SAMPLE = {"full": 1.0, "reduced": 0.06}
"""Fraction of the inputs to try."""

TINY = ("--config=scenes:denoising,tiny", "--config.window=(16,16)", "--config.batch_size=8", "--config.steps=1")
SMALL = tuple(f"--config.data.{split}.{field}=16" for split in ("train", "validation") for field in ("height", "width", "records"))

Try = Callable[[], tuple[str, list[str], Sequence[int]]]
"""Prepares an input; returns a command, its arguments and the correct exit codes."""


def cases(setting: Setting) -> Iterator[Case]:
    """Yield a case for each bad input; the reduced soak samples them."""
    run = setting.bench.whole("segmenter")
    for name, prepare in tries(setting.seed, run, Path(setting.folder)):
        if setting.dice(name).random() < SAMPLE[setting.scale]:
            yield Case(name, lambda prepare=prepare: refused(setting.bench.worker, prepare))


def refused(worker: Worker, prepare: Try) -> Outcome:
    """Give a bad input to its command; the outcome names what is wrong in how the command ends."""
    command, arguments, codes = prepare()
    try:
        answer = worker.ask({"do": "command", "module": command, "argv": arguments}, SECONDS)
    except Lost as lost:
        return Outcome({"bad inputs": 1}, (str(lost),))
    wrong = "" if answer["code"] == 0 and 0 in codes and not answer["traceback"] else runs.refusal(answer, codes)
    if not wrong and command == "predict" and not os.path.exists(os.path.join(arguments[-1].partition("=")[2], "labels", "good.png")):
        wrong = "the good image beside the bad input was not predicted"
    if not wrong and answer["megabytes"] > MEGABYTES:
        wrong = f"used {answer['megabytes']} MB"
    return Outcome({"bad inputs": 1}, (wrong,) if wrong else ())


def tries(seed: int, run: runs.Whole, folder: Path) -> Iterator[tuple[str, Try]]:
    """Yield (name, try) of each bad input; `run` is a finished segmenter."""
    workdir = f"--workdir={folder / 'tried'}"

    def flag(text: str) -> Try:
        def prepare() -> tuple[str, list[str], Sequence[int]]:
            _empty(folder / "tried")
            tiny = [word for word in (*TINY, *SMALL) if word.partition("=")[0] != f"--config.{text.partition('=')[0]}"]
            return "pretrain", [*tiny, f"--config.{text}", workdir], (0, 2) if text in bad_configs.HARMLESS else (2,)

        return prepare

    for text in bad_configs.FLAGS:
        yield f"--config.{text!r}", flag(text)

    def config(text: str, command: str) -> Try:
        def prepare() -> tuple[str, list[str], Sequence[int]]:
            copy = _copied(run, folder)
            (copy / "config.json").write_text(text)
            if command == "segment":  # the config of another run
                _empty(folder / "tried")
                return "segment", [f"--config={copy / 'config.json'}", workdir], (2,)
            return "evaluate", [f"--workdir={copy}", "--split=validation"], (0, 2)  # 0: scoring does not read the bad field

        return prepare

    for number, (name, text) in enumerate(bad_configs.configs(run.config, CONFIGS, random.Random(seed))):
        yield name, config(text, "segment" if number % 2 else "evaluate")

    def foreign(files: dict[str, str]) -> Try:
        def prepare() -> tuple[str, list[str], Sequence[int]]:
            _empty(folder / "foreign")
            _empty(folder / "tried")
            save_file(tensors(), folder / "foreign" / "model.safetensors")
            for name, text in files.items():
                (folder / "foreign" / name).write_text(text)
            return "pretrain", ["--config=scenes:masked,tiny", *TINY[1:], *SMALL, f"--init={folder / 'foreign'}", workdir], (2,)

        return prepare

    for name, files in bad_configs.foreign():
        yield name, foreign(dict(files))

    def image(ending: str, write: bad_files.Write) -> Try:
        def prepare() -> tuple[str, list[str], Sequence[int]]:
            _empty(folder / "photos")
            _empty(folder / "predicted", make=False)
            (folder / "photos" / "good.png").write_bytes(bad_files.png(np.zeros((20, 24, 3), np.uint8)))
            write(folder / "photos" / f"bad.{ending}")
            flags = [f"--workdir={run.workdir}", f"--input={folder / 'photos'}", f"--output={folder / 'predicted'}"]
            return "predict", flags, (0, 1, 2)  # the image may survive a flipped bit

        return prepare

    for name, ending, write in bad_files.images(np.random.default_rng(seed)):
        yield f"image: {name} ({ending})", image(ending, write)

    def label(file: str, write: bad_files.Write, drawn: bool) -> Try:
        def prepare() -> tuple[str, list[str], Sequence[int]]:
            data = folder / "data"
            _labelled(data, drawn and Path(file).suffix)
            (data / file).unlink(missing_ok=True)
            write(data / file)
            own = ["--config=folder:linear,convnet,tiny", f"--config.data.root={data}", "--config.data.class_table=a,b,c"]
            own += ["--config.method.classes=3", "--config.window=(16,16)", "--config.batch_size=8", "--config.steps=1", workdir]
            _empty(folder / "tried")
            return "segment", own, (0, 2)  # the label may survive a flipped bit

        return prepare

    for name, file, write in bad_files.labels(np.random.default_rng(seed)):
        yield name, label(file, write, False)
    for name, file, text in bad_files.annotations():
        yield name, label(f"labels/{file}", lambda path, text=text: path.write_text(text), True)  # type: ignore[misc]

    def spoilt(spoil: Callable[[Path], object], codes: Sequence[int]) -> Try:
        def prepare() -> tuple[str, list[str], Sequence[int]]:
            copy = _copied(run, folder)
            spoil(copy)
            return "evaluate", [f"--workdir={copy}", "--split=validation"], codes

        return prepare

    for name, (spoil, codes) in WORKDIRS.items():
        yield f"workdir: {name}", spoilt(spoil, codes)
    for text in ("gs://bucket/run", "s3://x/y", "/" + "x" * 300, "/tmp/" + "x/" * 3000, "/proc/aeseg", "/dev/null/run", "\0", "a\nb/\0"):
        arguments = [*TINY, *SMALL, f"--workdir={text}"]
        yield f"--workdir={text[:40]!r} ({zlib.crc32(text.encode())})", lambda arguments=arguments: ("pretrain", arguments, (2,))  # type: ignore[misc]


WORKDIRS: dict[str, tuple[Callable[[Path], object], Sequence[int]]] = {
    "checkpoints/²": (lambda path: (path / "checkpoints" / "²").mkdir(), (0,)),
    "checkpoints/٣": (lambda path: (path / "checkpoints" / "٣").mkdir(), (0,)),
    "checkpoints/999 a file": (lambda path: (path / "checkpoints" / "999").write_text(""), (0,)),
    "checkpoints/999 empty": (lambda path: (path / "checkpoints" / "999").mkdir(), (0, 2)),
    "checkpoints gone": (lambda path: shutil.rmtree(path / "checkpoints"), (2,)),
    "checkpoints a file": (lambda path: (shutil.rmtree(path / "checkpoints"), (path / "checkpoints").write_text("")), (2,)),
    "config.json gone": (lambda path: (path / "config.json").unlink(), (2,)),
    "config.json a folder": (lambda path: ((path / "config.json").unlink(), (path / "config.json").mkdir()), (2,)),
    "config.json a pipe": (lambda path: ((path / "config.json").unlink(), os.mkfifo(path / "config.json")), (2,)),
    "metrics.json of zeros": (lambda path: (path / "metrics.json").write_bytes(bytes(99)), (0, 2)),
    "metrics.json a list": (lambda path: (path / "metrics.json").write_text("[3]"), (0, 2)),
    "metrics.json a folder": (lambda path: (path / "metrics.json").mkdir(), (0, 2)),
}
"""Damages to a finished workdir, and the correct exit codes of `evaluate`."""


@functools.cache
def tensors() -> dict[str, np.ndarray]:
    """Return valid tensors for `bad_configs.VIT`, so that only its config can be refused."""
    node = vit.spec_of(bad_configs.VIT)
    shapes = families.shapes(node, (16, 16), 3)
    return to_foreign(vit.rules(node), jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes))


def _empty(path: Path, make: bool = True) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if make:
        path.mkdir(parents=True)


def _copied(run: runs.Whole, folder: Path) -> Path:
    _empty(folder / "copy", make=False)
    return Path(shutil.copytree(run.workdir, folder / "copy"))


def _labelled(data: Path, drawn: str) -> None:
    """Write eight images with label images, or with good annotations of the suffix `drawn`."""
    dice = np.random.default_rng(0)
    _empty(data)
    for name in ("images", "labels"):
        (data / name).mkdir()
    shape = '{"shapes": [{"label": "b", "shape_type": "polygon", "points": [[0, 0], [0, 9], [9, 9]]}], "imageHeight": 16, "imageWidth": 16}'
    for number in range(8):
        (data / f"images/{number}.png").write_bytes(bad_files.png(dice.integers(0, 256, (16, 16, 3)).astype(np.uint8)))
        if drawn:
            (data / f"labels/{number}{drawn}").write_text(shape if drawn == ".json" else "0 0 0 0 1 1 1")
        else:
            (data / f"labels/{number}.png").write_bytes(bad_files.png(dice.integers(0, 3, (16, 16)).astype(np.uint8)))
