"""`predict` and `evaluate` on an untrained network: their input, output and errors."""

import errno
import json

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
from PIL import Image

from aeseg import files
from aeseg.data.colours import LocalContrast
from aeseg.data.sources.scenes import CLASSES
from aeseg.data.transforms import CenterCrop, Resize
from aeseg.inference import draw
from aeseg.inference.sliding import sliding_logits
from aeseg.inference.statistics import by_own_statistics
from aeseg.runs import scores
from aeseg.runs import workdir as workdirs
from aeseg.spec import recipe, spec
from experiments import evaluate, predict
from experiments.console import cli
from experiments.machine import process
from experiments.predictions import writing
from tests.experiments import untrained


@pytest.fixture(scope="module")
def segmenter():
    return untrained.segmenter()


@pytest.fixture(scope="module")
def autoencoder():
    return untrained.autoencoder()


@pytest.fixture(scope="module")
def bayesian():
    return untrained.bayesian()


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return a function that runs an entry point on a network in place of the workdir's, and returns the exit code."""
    monkeypatch.chdir(tmp_path)  # the default output is predictions/
    return lambda entry_point, trained, *flags: untrained.called(monkeypatch, entry_point, trained, f"--workdir={tmp_path}", *flags)


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name, size in (("a.png", (20, 33)), ("a.bmp", (5, 7)), ("more/a.png", (16, 16)), ("b.jpg", (40, 16))):
        Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).save(folder / name)
    return folder


def test_every_file_gets_a_label_an_overlay_and_logits_of_its_own_size(run, segmenter, photos, tmp_path):
    output = tmp_path / "results"
    assert run(predict, segmenter, f"--input={photos}", f"--output={output}", "--logits", "--batch=3") == 0
    sizes = {"a_png": (20, 33), "a_bmp": (5, 7), "more/a": (16, 16), "b": (40, 16)}
    for name, size in sizes.items():
        label = np.asarray(Image.open(output / "labels" / f"{name}.png"))
        logits = np.load(output / "logits" / f"{name}.npz")["logits"]
        assert label.shape == size
        assert np.asarray(Image.open(output / "overlays" / f"{name}.png")).shape == (*size, 3)
        assert logits.shape == (*size, len(CLASSES))
        np.testing.assert_array_equal(np.argmax(logits, -1), label)
    image = np.asarray(Image.open(photos / "more" / "a.png"))
    expected = segmenter.method.apply(segmenter.variables, jnp.float32(image[None]) / 255, method="predict")[0]
    np.testing.assert_allclose(np.load(output / "logits" / "more" / "a.npz")["logits"], expected, atol=1e-5)  # batch of 3 or 1
    assert (output / "overview.png").exists()


def test_a_network_with_nan_outputs_predicts_nothing_and_names_each_image(run, segmenter, photos, tmp_path, capsys):
    broken = segmenter._replace(variables=jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), segmenter.variables))
    assert run(predict, broken, f"--input={photos / 'b.jpg'}", f"--output={tmp_path / 'results'}") == 1
    assert "Expected numbers for every pixel of b; " in capsys.readouterr().err
    assert not (tmp_path / "results" / "labels").exists()


def test_a_run_that_resizes_predicts_at_that_size_and_resizes_probabilities_back(run, segmenter, photos, tmp_path):
    output = tmp_path / "results"
    transforms = (spec(Resize, height=16, width=16), spec(CenterCrop, height=8, width=8))
    resizing = untrained.seeing(segmenter, transforms)
    assert run(predict, resizing, f"--input={photos / 'b.jpg'}", f"--output={output}", "--logits") == 0
    image = Resize(16, 16)({"image": cv2.imread(str(photos / "b.jpg"))[..., ::-1]}, np.random.default_rng(0))["image"]
    small = segmenter.method.apply(segmenter.variables, jnp.float32(image[None]) / 255, method="predict")[0]
    large = cv2.resize(np.asarray(jax.nn.softmax(small)), (16, 40), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(np.exp(np.load(output / "logits" / "b.npz")["logits"]), large, atol=1e-5)
    label = np.asarray(Image.open(output / "labels" / "b.png"))
    np.testing.assert_array_equal(label, np.argmax(np.load(output / "logits" / "b.npz")["logits"], -1))


def test_a_run_that_normalises_local_contrast_predicts_from_it_and_draws_on_the_image(run, segmenter, photos, tmp_path):
    output, photo = tmp_path / "results", photos / "more" / "a.png"
    seeing = untrained.seeing(segmenter, (spec(LocalContrast, sigma=2.0),))
    assert run(predict, seeing, f"--input={photo}", f"--output={output}", "--logits") == 0
    image = np.asarray(Image.open(photo))
    contrast = LocalContrast(2.0)({"image": image}, np.random.default_rng(0))["image"]
    expected = segmenter.method.apply(segmenter.variables, jnp.float32(contrast[None]) / 255, method="predict")[0]
    np.testing.assert_allclose(np.load(output / "logits" / "a.npz")["logits"], expected, atol=1e-5)
    label = np.asarray(Image.open(output / "labels" / "a.png")).astype(np.int32)
    np.testing.assert_array_equal(Image.open(output / "overlays" / "a.png"), draw.overlay(image, label, CLASSES))


def test_unreadable_files_are_listed_and_the_exit_code_is_1(run, segmenter, photos, tmp_path, capsys):
    (photos / "broken.png").write_bytes(b"\x89PNG nothing")
    assert run(predict, segmenter, f"--input={photos}", f"--output={tmp_path / 'results'}") == 1
    printed = capsys.readouterr()
    assert "4 of 5 images" in printed.out
    assert f"Skipped {photos / 'broken.png'}: is not an image that can be read" in printed.err


def test_a_large_image_in_strips_gives_the_same_prediction(run, segmenter, photos, tmp_path, monkeypatch, capsys):
    outputs = tmp_path / "one", tmp_path / "strips"
    assert run(predict, segmenter, f"--input={photos}", f"--output={outputs[0]}", "--batch=3") == 0
    monkeypatch.setattr(writing, "LARGE", 16 * 16)
    monkeypatch.setattr(writing, "ROWS", 7)
    assert run(predict, segmenter, f"--input={photos}", f"--output={outputs[1]}", "--batch=3") == 0
    for name in ("labels/a_png.png", "overlays/a_png.png", "labels/b.png", "overlays/b.png", "labels/more/a.png"):
        one, other = (np.asarray(Image.open(output / name)) for output in outputs)
        np.testing.assert_array_equal(one, other, err_msg=name)
    assert (outputs[1] / "overview.png").exists()


def test_a_label_has_the_georeference_of_its_geotiff(run, segmenter, tmp_path):
    scale, tie = (33550, "d", 3, (10.0, 10.0, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 5e5, 5.2e6, 0.0), True)
    tifffile.imwrite(tmp_path / "field.tif", np.zeros((20, 24, 3), np.uint8), photometric="rgb", extratags=[scale, tie])
    assert run(predict, segmenter, f"--input={tmp_path / 'field.tif'}", f"--output={tmp_path / 'out'}") == 0
    with tifffile.TiffFile(tmp_path / "out" / "labels" / "field.tif") as file:
        assert file.pages[0].tags[33550].value == scale[3]
        assert file.pages[0].tags[33922].value == tie[3]
        np.testing.assert_array_equal(file.asarray(), np.asarray(Image.open(tmp_path / "out" / "labels" / "field.png")))


def test_files_that_predict_did_not_write_are_not_overwritten(run, segmenter, photos, tmp_path, capsys):
    (tmp_path / "data" / "labels").mkdir(parents=True)
    (tmp_path / "data" / "labels" / "b.png").write_bytes(b"a label that someone drew")
    assert run(predict, segmenter, f"--input={photos / 'b.jpg'}", f"--output={tmp_path / 'data'}") == 2
    assert "exists and is not a result of predict, so it is not overwritten. Set another --output." in capsys.readouterr().err
    assert (tmp_path / "data" / "labels" / "b.png").read_bytes() == b"a label that someone drew"


def test_a_second_call_overwrites_earlier_predictions(run, segmenter, photos, tmp_path):
    for _ in range(2):
        assert run(predict, segmenter, f"--input={photos / 'b.jpg'}", f"--output={tmp_path / 'out'}") == 0
    record = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert record["images"] == {str(photos / "b.jpg"): "b"}


@pytest.mark.parametrize("large", [False, True])
def test_a_full_disk_ends_predict_with_one_sentence(run, segmenter, photos, tmp_path, monkeypatch, capsys, large):
    def full(path, *arguments):
        error = OSError(errno.ENOSPC, "No space left on device")
        raise files.refusal(str(path), error) from error  # as files.replacing does

    monkeypatch.setattr(draw, "write_label", full)
    monkeypatch.setattr(writing, "LARGE", 1 if large else 10**9)
    assert run(predict, segmenter, f"--input={photos}", f"--output={tmp_path / 'out'}") == 2
    assert capsys.readouterr().err.strip().splitlines() == [
        f"Cannot write to {tmp_path / 'out'}: No space left on device. Free some space, or set another --output."
    ]


def test_links_out_of_the_output_are_refused(run, segmenter, photos, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "labels").symlink_to(tmp_path / "elsewhere")
    assert run(predict, segmenter, f"--input={photos / 'b.jpg'}", f"--output={tmp_path / 'out'}") == 2
    assert "through a link. Remove the link, or set another --output." in capsys.readouterr().err
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_link_is_replaced_and_its_target_is_unchanged(run, segmenter, photos, tmp_path):
    output, kept = tmp_path / "out", tmp_path / "kept.png"
    assert run(predict, segmenter, f"--input={photos / 'b.jpg'}", f"--output={output}") == 0
    kept.write_bytes(b"kept")
    (output / "labels" / "b.png").unlink()
    (output / "labels" / "b.png").symlink_to(kept)
    assert run(predict, segmenter, f"--input={photos / 'b.jpg'}", f"--output={output}") == 0
    assert kept.read_bytes() == b"kept"
    assert not (output / "labels" / "b.png").is_symlink()


def test_an_autoencoder_writes_reconstructions(run, autoencoder, photos, tmp_path):
    output = tmp_path / "results"
    assert run(predict, autoencoder, f"--input={photos}", f"--output={output}") == 0
    assert np.asarray(Image.open(output / "reconstructions" / "a_png.png")).shape == (20, 33, 3)
    assert run(predict, autoencoder, f"--input={photos}", f"--output={output}", "--logits") == 2


def test_earlier_results_are_not_read_as_input(photos):
    (photos / "out").mkdir()
    Image.new("RGB", (4, 4)).save(photos / "out" / "label.png")
    found = predict.input_files(str(photos), str(photos / "out"))
    assert len(found) == 4
    found = predict.input_files(str(photos / "**" / "*.png"), str(photos / "out"))
    assert found == [str(photos / "a.png"), str(photos / "more" / "a.png")]
    assert predict.input_files(str(photos / "b.jpg"), "") == [str(photos / "b.jpg")]


def test_a_pattern_without_matches_is_an_error(run, segmenter, tmp_path, capsys):
    assert run(predict, segmenter, f"--input={tmp_path / 'nowhere'}") == 2
    assert "matches none. Set --input to a file, a folder" in capsys.readouterr().err


def test_no_two_files_share_a_name():
    names = predict.output_names(["x/a.png", "x/a.jpg", "x/A.JPG", "x/a_png.bmp", "x/y/a.png", "x/b.c.png"])
    assert names == ["a_png_2", "a_jpg", "A_JPG_2", "a_png", "y/a", "b.c"]
    assert predict.output_names(["/one/a.png", "/two/a.png"]) == ["one/a", "two/a"]
    assert predict.output_names(["a.png"]) == ["a"]


def test_evaluate_writes_one_entry_for_each_split(run, segmenter, tmp_path, capsys):
    assert run(evaluate, segmenter) == 0
    assert run(evaluate, segmenter, "--split=validation", "--weights=gaussian", "--reference_boundaries") == 0
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert set(written) == {"test", "validation", "evaluations"}
    assert [taken["split"] for taken in written["evaluations"]] == ["test", "validation"]
    assert (written["test"]["images"], written["test"]["step"], written["test"]["pixels"]) == (3, 7, 3 * 16 * 24)
    assert np.sum(written["test"]["confusion"]) == 3 * 16 * 24
    assert "mean_boundary_f1_reference" not in written["test"]
    assert 0 <= written["validation"]["mean_boundary_f1_reference"] <= 1
    borders = {"mean_boundary_f1", "mean_boundary_iou"}
    assert borders | {"expected_calibration_error"} < set(written["test"])
    assert {"boundary_f1", "boundary_iou"} < set(written["test"]["per_class"][0])
    assert written["test"]["views"] == {"scales": [1.0], "flip": False}
    assert (tmp_path / "pictures" / "test_000007.png").exists()
    printed = capsys.readouterr().out
    assert "mean_iou" in printed
    assert "star" in printed
    assert "experiments.predict" in printed


def test_evaluate_leaves_boundaries_out_on_request_and_averages_views(run, segmenter, tmp_path, capsys):
    assert run(evaluate, segmenter, "--noboundaries", "--flip", "--scales=0.5,1") == 0
    written = json.loads((tmp_path / "metrics.json").read_text())["test"]
    assert not any("boundary" in name for name in (*written, *written["per_class"][0]))
    assert written["views"] == {"scales": [0.5, 1.0], "flip": True}
    assert "boundary" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "stride", "weights"),
    [((), (11, 11), "uniform"), (("--stride=5",), (5, 5), "uniform"), (("--stride=16,3", "--weights=gaussian"), (16, 3), "gaussian")],
)
def test_evaluate_scores_the_predictions_of_predict(run, segmenter, tmp_path, monkeypatch, flags, stride, weights):
    """Windows of 16x16 on scenes of 16x24."""
    shown = []
    monkeypatch.setattr(evaluate.draw, "panel", lambda columns, *rest: shown.append(columns))
    assert run(evaluate, segmenter, *flags) == 0
    (tmp_path / "scenes").mkdir()
    for index, image in enumerate(shown[0]["image"]):
        Image.fromarray(image).save(tmp_path / "scenes" / f"{index}.png")
    assert run(predict, segmenter, f"--input={tmp_path / 'scenes'}", f"--output={tmp_path / 'out'}", "--batch=2", *flags) == 0
    network = scores.predictor(*segmenter[:3])
    for index, (image, scored) in enumerate(zip(shown[0]["image"], shown[0]["prediction"], strict=True)):
        expected = sliding_logits(network, image, (16, 16), stride, batch=2, weights=weights)
        np.testing.assert_array_equal(scored, np.argmax(expected, axis=-1))
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "labels" / f"{index}.png")), scored)
    assert json.loads((tmp_path / "metrics.json").read_text())["test"]["windows"] == {
        "stride": list(stride),
        "weights": weights,
        "largest": 0,
    }


@pytest.mark.parametrize("entry_point", [evaluate, predict])
def test_best_selects_the_best_checkpoint_on_validation(segmenter, photos, tmp_path, monkeypatch, entry_point, capsys):
    asked = []
    monkeypatch.setattr(workdirs, "best_step", lambda workdir: 5)
    monkeypatch.setattr(workdirs, "load_trained", lambda workdir, step: asked.append(step) or segmenter)
    monkeypatch.setattr(process, "start", lambda: None)
    inputs = [f"--input={photos / 'more'}", f"--output={tmp_path / 'out'}"] if entry_point is predict else []
    for flags in (["--best"], ["--step=3"], []):
        assert cli.guarded(entry_point.run, ["program", f"--workdir={tmp_path}", *inputs, *flags]) == 0
    assert asked == [5, 3, -1]
    printed = capsys.readouterr().out
    assert printed.count(f"predict --workdir={tmp_path} --best --input=") == (entry_point is evaluate)
    assert cli.guarded(entry_point.run, ["program", f"--workdir={tmp_path}", *inputs, "--best", "--step=3"]) == 2
    assert "--best and --step=3 each select a checkpoint. Leave one of them out." in capsys.readouterr().err


def test_predict_averages_views(run, segmenter, photos, tmp_path):
    output = tmp_path / "results"
    assert run(predict, segmenter, f"--input={photos / 'more'}", f"--output={output}", "--logits", "--flip") == 0
    image = np.asarray(Image.open(photos / "more" / "a.png"))
    both = jnp.float32(np.stack([image, image[:, ::-1]])) / 255
    own, mirrored = jax.nn.softmax(segmenter.method.apply(segmenter.variables, both, method="predict"))
    found = np.exp(np.load(output / "logits" / "a.npz")["logits"])
    np.testing.assert_allclose(found, (own + mirrored[:, ::-1]) / 2, atol=1e-5)


def test_predict_writes_a_reproducible_uncertainty_of_a_network_with_dropout(run, bayesian, photos, tmp_path):
    """Each window is sampled by its own pixels, whatever else is in its batch."""
    written = []
    for batch, folder in ((1, tmp_path / "one"), (3, tmp_path / "other")):
        flags = (f"--output={folder}", f"--batch={batch}", "--samples=3", "--logits", "--flip", "--scales=0.5,1")
        assert run(predict, bayesian, f"--input={photos}", *flags) == 0
        written.append(np.load(folder / "logits" / "a_png.npz"))
        assert np.asarray(Image.open(folder / "uncertainties" / "more" / "a.png")).shape == (16, 16, 3)
    one, other = written
    assert one["logits"].shape == (20, 33, len(CLASSES))
    assert one["uncertainty"].shape == (20, 33)
    assert one["uncertainty"].min() >= 0 < one["uncertainty"].mean()
    for name in ("logits", "uncertainty"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-6)  # batches of other sizes round differently


def test_evaluate_draws_and_scores_a_network_with_dropout_reproducibly(run, bayesian, tmp_path, monkeypatch):
    columns, found = [], []
    monkeypatch.setattr(evaluate.draw, "panel", lambda shown, *rest: columns.append(shown))
    for _ in range(2):
        assert run(evaluate, bayesian, "--samples=3") == 0
        found.append(json.loads((tmp_path / "metrics.json").read_text())["test"])
    assert list(columns[0]) == ["image", "label", "prediction", "uncertainty"]
    assert [shown.shape for shown in columns[0]["uncertainty"]] == 3 * [(16, 24)]
    for name in ("prediction", "uncertainty"):
        np.testing.assert_array_equal(columns[0][name], columns[1][name])
    assert found[0] == found[1]
    assert found[0]["samples"] == 3


@pytest.mark.parametrize("entry_point", [evaluate, predict])
def test_samples_of_a_network_without_dropout_and_of_an_autoencoder_are_refused(run, segmenter, autoencoder, photos, entry_point, capsys):
    inputs = [f"--input={photos}"] if entry_point is predict else []
    assert run(entry_point, segmenter, *inputs, "--samples=2") == 2
    assert "Samples need a network with dropout; this one has none" in capsys.readouterr().err
    assert run(entry_point, autoencoder, *inputs, "--samples=2") == 2
    assert "this run is an autoencoder. Leave out --samples." in capsys.readouterr().err


def test_predict_normalises_each_window_of_a_batch_by_its_own_statistics(run, bayesian, photos, tmp_path):
    """The network has batch norm; 16x16 is one window."""
    for batch in (1, 3):
        flags = (f"--input={photos}", f"--output={tmp_path / str(batch)}", f"--batch={batch}", "--logits", "--batch_statistics")
        assert run(predict, bayesian, *flags) == 0
    image = jnp.float32(np.asarray(Image.open(photos / "more" / "a.png")))[None] / 255
    expected = by_own_statistics(bayesian.method, bayesian.variables, image)
    for batch in (1, 3):
        found = np.load(tmp_path / str(batch) / "logits" / "more" / "a.npz")["logits"]
        np.testing.assert_allclose(found, expected[0], rtol=1e-4, atol=1e-5)
    assert not np.allclose(expected, bayesian.method.apply(bayesian.variables, image, method="predict"))


def test_evaluate_records_which_statistics_it_used(run, bayesian, tmp_path):
    for flags in ([], ["--batch_statistics"], ["--batch_statistics", "--samples=2"]):
        assert run(evaluate, bayesian, *flags) == 0
        assert json.loads((tmp_path / "metrics.json").read_text())["test"]["batch_statistics"] == bool(flags)


@pytest.mark.parametrize("entry_point", [evaluate, predict])
def test_statistics_of_an_autoencoder_are_refused(run, autoencoder, photos, entry_point, capsys):
    inputs = [f"--input={photos}"] if entry_point is predict else []
    assert run(entry_point, autoencoder, *inputs, "--batch_statistics") == 2
    assert "this run is an autoencoder. Leave out --batch_statistics." in capsys.readouterr().err


def test_evaluate_scores_an_autoencoder_by_psnr_and_ssim(run, autoencoder, tmp_path, capsys):
    assert run(evaluate, autoencoder) == 0
    written = json.loads((tmp_path / "metrics.json").read_text())["test"]
    assert {"psnr", "ssim", "squared_error", "loss"} < set(written)
    assert written["loss"] == written["squared_error"]
    assert "dB" in capsys.readouterr().out


def test_evaluate_draws_the_prediction_of_a_masked_autoencoder(run, tmp_path):
    """Its prediction is an image, not a label map."""
    assert run(evaluate, untrained.autoencoder(recipe("aeseg.methods", "masked", "tiny"))) == 0
    assert "psnr" in json.loads((tmp_path / "metrics.json").read_text())["test"]
    assert (tmp_path / "pictures" / "test_000007.png").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--split=tset"], "The splits are train, validation, test; got 'tset'"),
        (["--workdir="], "Expected the workdir of a run"),
        (["--scales=1;2"], "Expected numbers above 0 between commas; got --scales='1;2'. Set --scales=0.75,1,1.25."),
        (["--samples=1"], "Expected 0 samples (none), or at least 2; got --samples=1. Set --samples=40."),
        (["--samples=-2"], "got --samples=-2"),
        (["--scales=1,0"], "Expected numbers above 0 between commas; got --scales='1,0'."),
        (["--weights=bell"], 'weights is "uniform" or "gaussian"; got \'bell\'.'),
    ],
)
def test_wrong_flags_are_refused_with_one_sentence(run, segmenter, flags, message, capsys):
    assert run(evaluate, segmenter, *flags) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--stride=17", "--stride=half", "--weights=triangle", "--batch=0", "--scales=0", "--scales=1,inf"])
def test_flags_that_cannot_be_used_leave_no_folder(run, segmenter, photos, tmp_path, flag, capsys):
    assert run(predict, segmenter, f"--input={photos}", f"--output={tmp_path / 'results'}", flag) == 2
    assert flag.partition("=")[0].lstrip("-") in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("stride", ["0", "17", "-1", "8,0", "8,17", "8,8,8", "8.5", "half", ","])
@pytest.mark.parametrize("entry_point", [evaluate, predict])
def test_invalid_strides_are_refused(run, segmenter, photos, entry_point, stride, capsys):
    inputs = [f"--input={photos}"] if entry_point is predict else []
    assert run(entry_point, segmenter, *inputs, f"--stride={stride}") == 2
    assert f"at least 1 and at most the window's 16,16; got --stride={stride}. Set --stride=11,11" in capsys.readouterr().err


def test_windows_of_an_autoencoder_slide_only_in_predict(run, autoencoder, photos, tmp_path, capsys):
    for flag in ("--stride=8", "--weights=gaussian"):
        assert run(evaluate, autoencoder, flag) == 2
        assert "scored on the central window of each image, without sliding. Leave out --stride and --weights." in capsys.readouterr().err
    flags = (f"--input={photos / 'b.jpg'}", "--stride=8", "--weights=gaussian")
    assert run(predict, autoencoder, *flags, f"--output={tmp_path / 'out'}") == 0


@pytest.mark.parametrize("entry_point", [evaluate, predict])
def test_views_of_an_autoencoder_are_refused(run, autoencoder, photos, entry_point, capsys):
    for flags in (["--flip"], ["--scales=2"]):
        inputs = [f"--input={photos}"] if entry_point is predict else []
        assert run(entry_point, autoencoder, *inputs, *flags) == 2
        assert "this run is an autoencoder. Leave out --flip and --scales." in capsys.readouterr().err


def test_a_data_set_with_another_number_of_classes_is_refused(run, segmenter, capsys):
    other = segmenter._replace(method=segmenter.method.clone(classes=3, head=segmenter.method.head.clone(classes=3)))
    assert run(evaluate, other) == 2
    assert "The model knows 3 classes; the data set has 8: background" in capsys.readouterr().err
