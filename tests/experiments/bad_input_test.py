"""A user's mistakes give one clear message (expected, got, remedy), before any training, with exit code 2."""

import json
import re
import resource
import shutil

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image
from safetensors.numpy import save_file

from aeseg import spec
from aeseg.runs import workdir as workdirs
from experiments import evaluate, predict, pretrain, segment
from experiments.console import cli

EVERY = ("--config.log_every=1", "--config.evaluate_every=2", "--config.save_every=2")
SMALL = ("--config.batch_size=8", "--config.steps=2", *EVERY)
SPLITS = ("train", "validation")
SCENES = tuple(f"--config.data.{split}.{field}=16" for split in SPLITS for field in ("height", "width", "records"))
PRETRAIN = ("--config=pretrain:reconstruction,tiny", "--config.window=(16,16)", *SMALL, *SCENES)
SEGMENT = ("--config=segment:linear", "--config.window=(16,16)", "--config.data.fraction=1.0", *SMALL, *SCENES)


@pytest.fixture
def refused(tmp_path, capsys):
    """Run an entry point that must refuse; check its exit code and that nothing was trained; return its message."""

    def run(module, *flags, workdir=""):
        place = workdir or str(tmp_path / "run")
        code = cli.guarded(module.run, ["program", *flags, f"--workdir={place}"])
        shown = capsys.readouterr()
        assert code == 2, shown.out + shown.err
        assert "Traceback" not in shown.err
        assert "step " not in shown.out
        if not workdir:
            assert not (tmp_path / "run" / "checkpoints").exists()
        return shown.err.strip()

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The workdir of a finished tiny run."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    assert cli.guarded(pretrain.run, ["program", *PRETRAIN, f"--workdir={workdir}"]) == 0
    return workdir


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of that workdir, to damage."""
    return shutil.copytree(finished, tmp_path / "copied")


def assert_says(message, pattern):
    assert re.search(pattern, message, re.DOTALL), f"expected {pattern!r} in:\n{message}"


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Sixteen 16x16 images and labels 0..2."""
    random = np.random.default_rng(0)
    for i in range(16):
        write(tmp_path / f"data/images/{i:02}.png", random.integers(0, 256, (16, 16, 3)))
        write(tmp_path / f"data/labels/{i:02}.png", random.integers(0, 3, (16, 16)))
    return tmp_path / "data"


def of_folder(root):
    """Flags that segment the reader's own images."""
    own = ("--config=folder:linear", f"--config.data.root={root}", "--config.data.class_table=a,b,c", "--config.method.classes=3")
    return (*own, "--config.window=(16,16)", *SMALL)  # the crops follow the window


@pytest.mark.parametrize(
    ("module", "flags", "says"),
    [
        (pretrain, ("--config.optimiser.learning_rat=1",), "has no 'learning_rat'.*did you mean 'learning_rate'"),
        (pretrain, ("--config.optimizer.learning_rate=1",), "has no 'optimizer'.*did you mean 'optimiser'"),
        (pretrain, ("--config=pretrian",), "'?.*pretrian.py'? does not exist.*pretrain"),
        (
            pretrain,
            ("--config=pretrain:denoisin",),
            r"or a head, .*reconstruction.*got 'denoisin' \(did you mean 'denoising'",
        ),
        (pretrain, ("--config=pretrain:denoising,huge",), "no size 'huge'.*tiny"),
        (segment, ("--config=segment:unett",), r"an autoencoder or a head, .*got 'unett' \(did you mean 'unet'"),
        (pretrain, ("--workdri=x",), "workdri"),
        (pretrain, ("--config.steps=many",), "steps"),
        (pretrain, ("--config.batch_size=1.5",), "batch_size"),
        (pretrain, ("--config.optimiser.learning_rate=fast",), "learning_rate"),
        (pretrain, ("--config.window=16",), "window"),
        (pretrain, ("--config.steps=0",), "steps"),
        pytest.param(pretrain, ("--config.batch_size=12",), "8 devices.*got batch_size 12.*multiple of 8", marks=pytest.mark.spread),
        (pretrain, ("--config.batch_size=0",), "batch_size must be from 1 to .*got 0"),
        pytest.param(pretrain, ("--config.fsdp=3",), "fsdp must divide.*8; got 3", marks=pytest.mark.spread),
        (pretrain, ("--config.data.train.height=18", "--config.data.train.width=18"), "divisible by 4; the image is 18 x 18"),
        (pretrain, ("--config.data.train.split=trian",), "train, validation, test; got 'trian'"),
        (pretrain, ("--config.data.train.records=0",), "has none"),
        (pretrain, ("--config.data.on_error=ignore",), "'raise' or 'skip'; got 'ignore'"),
        (pretrain, ("--config.data.fraction=2.0",), "fraction"),
        (pretrain, ("--config.data.fraction=0.0",), "fraction"),
        (pretrain, ("--config.method.objective=hinge",), "objective"),
        (pretrain, ("--config.optimiser.schedule=linear",), "schedule must be one of"),
        (pretrain, ("--config.method.encoder.dtype=float23",), "float23"),
        (pretrain, ("--init=nowhere",), "'nowhere'.*config.json"),
        (segment, ("--config.method.head.stride=32",), "LinearHead reads stride 32; the encoder gives"),
        (segment, ("--config.transfer=all",), "transfer must be one of.*got 'all'"),
        (segment, ("--config.transfer=linear-probe",), "--init"),
        (segment, ("--config.class_weights=mean",), "class_weights must be one of"),
        (segment, ("--config.class_weights=segnet",), "for CamVid's classes, sky, .*; the data have.*background"),
        (segment, ("--config.method.classes=3",), "The model has 3 classes; the training data have 8: background, "),
        (
            segment,
            ("--config=scenes:denoising", "--config.data.fraction=1.0"),
            "a config that pretrains: .* Denoising. Use pretrain",
        ),
        (
            pretrain,
            ("--config=scenes:unet,convnet", "--config.window=(16,16)"),
            "a config that segments: .* Segmenter. Use segment",
        ),
        (evaluate, (), "config.json"),
        (evaluate, ("--split=tset",), "train, validation, test; got 'tset'"),
        (predict, ("--input=nothing/*.png",), "nothing"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) and value else None,
)
def test_bad_arguments_are_refused_with_one_sentence_before_training(refused, module, flags, says):
    given = () if any("scenes:" in flag for flag in flags) else {pretrain: PRETRAIN, segment: SEGMENT}.get(module, ())
    message = refused(module, *given, *flags)
    assert_says(message, says)


def test_labels_outside_the_classes_are_named_with_file_and_value(refused, folder):
    label = np.zeros((16, 16))
    label[3, 4:6] = 7
    write(folder / "labels/05.png", label)
    message = refused(segment, *of_folder(folder))
    assert "05.png" in message
    assert "7" in message


def test_an_image_without_label(refused, folder):
    (folder / "labels/03.png").unlink()
    message = refused(segment, *of_folder(folder))
    assert "1 of 16 images" in message
    assert "03" in message


def test_a_label_without_image(refused, folder):
    (folder / "images/03.png").unlink()
    message = refused(segment, *of_folder(folder))
    assert "1 of 16 labels" in message
    assert "03" in message


def test_sizes_that_differ(refused, folder):
    write(folder / "labels/03.png", np.zeros((16, 18)))
    message = refused(segment, *of_folder(folder))
    assert "03.png" in message
    assert "16" in message
    assert "18" in message


def test_empty_and_missing_folders_are_refused(refused, tmp_path):
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "labels").mkdir()
    assert "Files that are read end in" in refused(segment, *of_folder(tmp_path / "data"))
    assert "There is no directory" in refused(segment, *of_folder(tmp_path / "nowhere"))


def test_a_corrupt_image_is_named(refused, folder):
    (folder / "images/03.png").write_bytes(b"not a picture")
    assert "03.png" in refused(segment, *of_folder(folder))


def test_corrupt_images_are_skipped_on_request_and_counted_at_the_end(folder, tmp_path, capsys):
    (folder / "images/03.png").write_bytes(b"not a picture")
    flags = (*of_folder(folder), "--config.data.on_error=skip", f"--workdir={tmp_path / 'run'}")
    assert cli.guarded(segment.run, ["program", *flags]) == 0
    shown = capsys.readouterr().out
    assert re.search("Skipped 1 unreadable (training )?record", shown)
    assert "03" in shown.partition("Skipped 1")[2]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoints(tmp_path, capsys):
    wild = ("--config.optimiser.learning_rate=1e9", "--config.optimiser.clip=0.0", "--config.optimiser.warmup=2")
    flags = (*PRETRAIN, "--config.steps=20", "--config.save_every=1", *wild, f"--workdir={tmp_path / 'run'}")
    assert cli.guarded(pretrain.run, ["program", *flags]) == 2
    message = capsys.readouterr().err
    assert "Step " in message
    assert "is not finite" in message
    kept = [path for path in (tmp_path / "run/checkpoints").iterdir() if path.name.isdigit()]
    assert kept
    assert cli.guarded(evaluate.run, ["program", f"--workdir={tmp_path / 'run'}", "--split=validation"]) == 0


def test_a_workdir_of_another_config_shows_the_differences(refused, finished):
    message = refused(pretrain, *PRETRAIN, "--config.seed=1", "--config.optimiser.learning_rate=0.5", workdir=str(finished))
    assert "config.seed: 0 -> 1" in message
    assert "config.optimiser.learning_rate: 0.002 -> 0.5" in message
    assert "--workdir" in message


def test_the_same_command_again_says_that_it_is_finished(finished, capsys):
    assert cli.guarded(pretrain.run, ["program", *PRETRAIN, f"--workdir={finished}"]) == 0
    assert "finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("widths", "says"),
    [((4, 8, 8), "Missing.*level2"), ((8,), "level1"), ((6, 8), r"level0.*\(3, 3, 3, 6\).*\(3, 3, 3, 4\)")],
)
@pytest.mark.parametrize("module", [pretrain, evaluate])
def test_a_checkpoint_that_does_not_fit_the_model(refused, copied, module, widths, says):
    config = workdirs.stored_config(str(copied))
    config.method.encoder.widths = widths
    config.method.decoder.widths = widths[::-1]
    (copied / "config.json").write_text(spec.to_json(config))
    flags = (*PRETRAIN, f"--config.method.encoder.widths={widths}", f"--config.method.decoder.widths={widths[::-1]}")
    message = refused(module, *(flags if module is pretrain else ("--split=validation",)), workdir=str(copied))
    assert_says(message, f"does not fit.*{says}")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"config.json": b'{"architectures": ["BertModel"]}'}, "names the architecture 'BertModel'.*aeseg reads .*ViTModel"),
        ({"config.json": b'{"model_type": "vit"}', "pytorch_model.bin": b""}, "is a pickle, .* safetensors only.*python -c"),
        ({"config.json": b'{"architectures": ["ViTModel"]}', "model.safetensors": b"\xff" * 99}, "cannot be read as safetensors"),
        ({"config.json": b'{"architectures": ["ViTModel"]}'}, "Expected model.safetensors"),
    ],
    ids=["another family", "a pickle", "a header that lies", "no weights"],
)
@pytest.mark.parametrize("module", [pretrain, segment])
def test_init_from_foreign_weights_that_cannot_be_read(refused, tmp_path, module, files, says):
    (tmp_path / "foreign").mkdir()
    if "Bert" in says:
        save_file({"a": np.zeros(1)}, tmp_path / "foreign" / "model.safetensors")
    for name, content in files.items():
        (tmp_path / "foreign" / name).write_bytes(content)
    given = {pretrain: PRETRAIN, segment: SEGMENT}[module]
    assert_says(refused(module, *given, f"--init={tmp_path / 'foreign'}"), says)


def test_init_from_an_encoder_that_differs_from_the_command_line(refused, finished):
    message = refused(segment, *SEGMENT, f"--init={finished}", "--config.method.encoder.widths=(4,8,16)")
    assert "config.method.encoder.widths: [4, 8] -> [4, 8, 16]" in message


def test_a_damaged_config(refused, copied):
    (copied / "config.json").write_text("{")
    assert "config.json cannot be read" in refused(evaluate, workdir=str(copied))
    (copied / "config.json").write_text(json.dumps({"method": {"target": "os:system", "command": "true"}}))
    refused(evaluate, workdir=str(copied))


def test_missing_and_damaged_checkpoints_are_refused(refused, copied):
    [step] = [path for path in (copied / "checkpoints").iterdir() if path.name.isdigit()]
    for path in step.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "checkpoint" in refused(evaluate, "--split=validation", workdir=str(copied))
    shutil.rmtree(copied / "checkpoints")
    assert "checkpoint" in refused(evaluate, "--split=validation", workdir=str(copied))


@pytest.mark.parametrize("module", [pretrain, segment])
def test_a_workdir_that_cannot_be_created(refused, tmp_path, module):
    (tmp_path / "file").write_text("")
    flags = PRETRAIN if module is pretrain else SEGMENT
    assert "Cannot write to" in refused(module, *flags, workdir=str(tmp_path / "file" / "run"))
    assert "Cannot write to" in refused(module, *flags, workdir="/proc/aeseg")


def test_a_disk_that_is_full(tmp_path, capsys):
    """Files may grow to 16 kB here: the config fits, a checkpoint does not."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    jax.config.update("jax_enable_compilation_cache", False)  # its files would be cut, too, and other tests would read them
    compilation_cache.reset_cache()  # otherwise the setting is not read again
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, limits[1]))
    try:
        code = cli.guarded(pretrain.run, ["program", *PRETRAIN, f"--workdir={tmp_path / 'run'}"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        jax.config.update("jax_enable_compilation_cache", True)
        compilation_cache.reset_cache()
    message = capsys.readouterr().err
    assert code == 2
    assert "Traceback" not in message
    assert "Cannot write" in message


def test_unreadable_files_are_listed_and_the_exit_code_is_1(tmp_path, capsys):
    run = tmp_path / "run"
    assert cli.guarded(segment.run, ["program", *SEGMENT, f"--workdir={run}"]) == 0
    write(tmp_path / "photos/good.png", np.zeros((21, 17, 3)))
    (tmp_path / "photos/bad.png").write_bytes(b"not a picture")
    flags = (f"--workdir={run}", f"--input={tmp_path / 'photos'}", f"--output={tmp_path / 'out'}")
    assert cli.guarded(predict.run, ["program", *flags]) == 1
    assert "bad.png" in capsys.readouterr().err
    with Image.open(tmp_path / "out/labels/good.png") as label:
        assert label.size == (17, 21)
