"""`restore` on untrained networks: its files, its table and its errors."""

import json
import sys

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from aeseg import noises
from aeseg.inference import restoration
from aeseg.methods.denoising import Denoising
from aeseg.models.decoders import unet
from aeseg.models.encoders import convnet
from aeseg.spec import spec
from aeseg.types import UserError
from experiments import restore
from experiments.configs import restoration as config
from experiments.console import cli
from experiments.recorded import measurements
from experiments.restorations import results, rivals, table
from tests import jitted
from tests.experiments import untrained

SMALL = {"encoder": convnet.recipe("tiny"), "decoder": unet.recipe("tiny")}
RNG = np.random.default_rng(0)
BLOCKS = np.kron(RNG.integers(0, 256, (4, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def networks():
    """Return an untrained network of each task."""
    made = {}
    for task, noise in config.NOISES.items():
        made[task] = untrained.autoencoder(spec(Denoising, **SMALL, noise=noise, output="linear", predicts="noise"))
    return made


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return a function that runs `restore` on a network in place of the workdir's, and returns the exit code."""
    monkeypatch.chdir(tmp_path)
    return lambda trained, *flags: untrained.called(monkeypatch, restore, trained, f"--init={tmp_path / 'run'}", *flags)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(BLOCKS).save(folder / "a.png")
    tags = Image.Exif()
    tags[0x010F] = "a camera"
    Image.fromarray(BLOCKS[:20, :33]).save(folder / "more/b.jpg", exif=tags)
    cv2.imwrite(str(folder / "c.png"), BLOCKS.astype(np.uint16) * 257)
    scale = (33550, "d", 3, (10.0, 10.0, 0.0), True)
    tifffile.imwrite(folder / "d.tif", BLOCKS, photometric="rgb", extratags=[scale])
    return folder


def test_every_file_is_restored_in_its_size_bits_and_kind_with_its_metadata(run, networks, photos, tmp_path):
    assert run(networks["denoise"], "--task=denoise", f"--input={photos}", "--output=out") == 0
    restored = tmp_path / "out" / "restored"
    before = (photos / "a.png").read_bytes()
    assert np.asarray(Image.open(restored / "a.png")).shape == BLOCKS.shape
    with Image.open(restored / "more" / "b.png") as after:
        assert after.size == (33, 20)
        assert after.getexif()[0x010F] == "a camera"
    assert cv2.imread(str(restored / "c.png"), cv2.IMREAD_UNCHANGED).dtype == np.uint16
    with tifffile.TiffFile(restored / "d.tif") as after:
        assert after.pages[0].tags[33550].value == (10.0, 10.0, 0.0)
        np.testing.assert_array_equal(after.asarray(), Image.open(restored / "a.png"))
    assert (photos / "a.png").read_bytes() == before
    assert (tmp_path / "out" / "overview.png").exists()
    record = json.loads((tmp_path / "out" / "restorations.json").read_text())
    assert set(record["images"].values()) == {"a", "c", "d", "more/b"}
    assert record["failed"] == {}


def test_the_result_is_the_methods_own_output(run, networks, photos, tmp_path):
    trained = networks["denoise"]
    assert run(trained, f"--input={photos / 'a.png'}", "--output=out", "--largest=0", "--stride=16", "--weights=uniform") == 0
    window = jnp.float32(BLOCKS[None, :16, :16]) / 255
    batch = {"image": window, "valid": jnp.ones(1, bool), "index": jnp.zeros(1, jnp.int32)}
    shown = trained.method.clone(noise=()).apply(trained.variables, batch, method="show")["reconstruction"][0]
    restored = np.asarray(Image.open(tmp_path / "out/restored/a.png"))[:16, :16]
    np.testing.assert_allclose(restored, np.rint(shown * 255), atol=1)


def test_superresolution_doubles_size_and_grid(run, networks, photos, tmp_path):
    assert run(networks["superresolve"], "--task=superresolve", f"--input={photos}", "--output=out") == 0
    with tifffile.TiffFile(tmp_path / "out/restored/d.tif") as after:
        assert after.pages[0].shape == (64, 96, 3)
        assert after.pages[0].tags[33550].value == (5.0, 5.0, 0.0)
    assert np.asarray(Image.open(tmp_path / "out/restored/more/b.png")).shape == (40, 66, 3)


def test_inpainting_changes_the_masked_pixels_only_and_names_an_image_without_mask(run, networks, photos, tmp_path, capsys):
    mask = np.zeros(BLOCKS.shape[:2], np.uint8)
    mask[5:12, 20:31] = 255
    (tmp_path / "holes").mkdir()
    for name in ("a.png", "c.png"):
        Image.fromarray(mask).save(tmp_path / "holes" / name)
    Image.fromarray(mask[:9]).save(tmp_path / "holes" / "d.png")
    assert run(networks["inpaint"], "--task=inpaint", f"--input={photos}", "--masks=holes", "--output=out") == 1
    restored = np.asarray(Image.open(tmp_path / "out/restored/a.png"))
    np.testing.assert_array_equal(restored[mask == 0], BLOCKS[mask == 0])
    assert (restored[mask > 0] != BLOCKS[mask > 0]).any()
    error = capsys.readouterr().err
    assert f"Skipped {photos / 'more/b.jpg'}: has no mask. Add a file of its name to --masks" in error
    assert "has 32x48 pixels, its mask holes/d.png 9x48. Draw the mask on the image." in error
    assert not (tmp_path / "out/restored/d.tif").exists()


def test_a_bad_file_does_not_end_the_others(run, networks, photos, tmp_path, capsys):
    (photos / "bad.png").write_bytes(b"\x89PNG nothing")
    np.save(photos / "floats.npy", np.zeros((8, 8, 3), np.float32))
    assert run(networks["deblur"], f"--input={photos}", "--output=out") == 1
    printed = capsys.readouterr()
    assert "4 of 6 images" in printed.out
    assert f"Skipped {photos / 'bad.png'}: is not an image that can be read" in printed.err
    assert "floats.npy: has float32; expected 8 or 16 bits without sign" in printed.err


def test_inputs_and_files_of_others_are_never_overwritten_and_links_not_followed(run, networks, photos, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "restored").mkdir(parents=True)
    (out / "restored" / "a.png").write_bytes(b"mine")
    assert run(networks["denoise"], f"--input={photos / 'a.png'}", "--output=out") == 2
    assert "exists and is not a result of restore, so it is not overwritten. Set another --output." in capsys.readouterr().err
    assert (out / "restored" / "a.png").read_bytes() == b"mine"
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "restored").symlink_to(photos)
    assert run(networks["denoise"], f"--input={photos / 'a.png'}", "--output=link") == 2
    assert "through a link" in capsys.readouterr().err
    np.testing.assert_array_equal(Image.open(photos / "a.png"), BLOCKS)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--task=sharpen",), "The tasks are denoise, deblur, inpaint, superresolve; got 'sharpen'"),
        (("--task=deblur",), "was trained to denoise (Gaussian(sigma=0.09"),
        (("--masks=holes",), "Masks are of inpaint, and it needs them; the task is denoise"),
        (("--record",), "--record is of a table. Add --table, or leave it out."),
        (("--most=-1", "--table"), "Expected numbers from 0; got --most=-1"),
        (("--best", "--step=3"), "each select a checkpoint"),
        (("--stride=99",), "at most the window's 16,16"),
    ],
)
def test_bad_flags_are_refused_with_one_sentence(run, networks, photos, flags, says, capsys):
    assert run(networks["denoise"], f"--input={photos}", "--output=out", *flags) == 2
    assert says in capsys.readouterr().err


def test_other_networks_are_refused(run, networks, photos, capsys):
    assert run(untrained.segmenter(), f"--input={photos}") == 2
    assert "Expected a network that removes noise" in capsys.readouterr().err
    assert run(networks["inpaint"], f"--input={photos}", "--output=out") == 2
    assert "Set --masks to a folder of masks, white where to fill in." in capsys.readouterr().err
    assert cli.guarded(restore.run, ["restore", f"--input={photos}"]) == 2
    assert "Expected the workdir of a run; got none. Set --init=" in capsys.readouterr().err


@pytest.mark.parametrize("task", config.NOISES)
def test_the_table_compares_with_the_usual_methods_and_stores_its_numbers(run, networks, photos, tmp_path, capsys, task, monkeypatch):
    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path / "results"))
    assert results.table() == ""
    monkeypatch.setattr(rivals, "STRENGTHS", (0.6, 0.8))
    trained = networks[task]
    assert run(trained, f"--input={photos / 'a.png'}", "--table", "--record", "--seed=3") == 0
    printed = capsys.readouterr().out
    stored = json.loads((tmp_path / "run" / "restore.json").read_text())[task]
    recorded = json.loads((tmp_path / "results/restore.jsonl").read_text())
    assert recorded == stored
    assert f"| network | {stored['methods']['network']['psnr']:.2f} | " in results.table()
    assert {"device", "commit", "seconds", "seed", "noise", "step"} <= set(recorded)
    names = {rival.name for rival in rivals.of_task(trained.method.noise)}
    assert names < set(stored["methods"])
    assert all(name in printed for name in names)
    one = restoration.degraded(BLOCKS, trained.method.noise, 3, 0)
    if task == "denoise":
        assert stored["methods"]["degraded"]["psnr"] == pytest.approx(peak_signal_noise_ratio(BLOCKS, one.image))
        h = stored["settings"]["non-local means (OpenCV)"]
        expected = cv2.fastNlMeansDenoisingColored(cv2.cvtColor(one.image, cv2.COLOR_RGB2BGR), None, h, h, 7, 21)
        expected = cv2.cvtColor(expected, cv2.COLOR_BGR2RGB)
        assert stored["methods"]["non-local means (OpenCV)"]["psnr"] == pytest.approx(peak_signal_noise_ratio(BLOCKS, expected))
    picture = np.asarray(Image.open(tmp_path / "run" / "pictures" / f"{task}_000007.png"))
    assert picture.ndim == 3


@pytest.mark.parametrize("task", config.NOISES)
def test_an_untrained_network_of_the_config_returns_its_input(task):
    trained = untrained.autoencoder(config.get_config(task).method.copy_and_resolve_references())
    batch = {"image": RNG.random((2, 16, 16, 3)).astype(np.float32), "valid": np.ones(2, bool), "index": np.arange(2, dtype=np.int32)}
    batch = jax.tree.map(jnp.asarray, batch)
    shown = jitted.apply(trained.method, trained.variables, batch, method="show")
    np.testing.assert_array_equal(shown["reconstruction"], shown["noisy"])


def test_the_table_reads_the_runs_test_split_by_default(run, networks, tmp_path, capsys):
    assert run(networks["superresolve"], "--table", "--most=2") == 0
    assert "seed 0, 2 images" in capsys.readouterr().out


def test_scores_of_the_table_are_scikit_images():
    noisy = restoration.degraded(BLOCKS, (noises.Gaussian(0.1),), 0, 0).image
    assert table.psnr(BLOCKS, noisy) == pytest.approx(10 * np.log10(255**2 / np.square(BLOCKS.astype(float) - noisy).mean()))
    how = {"channel_axis": -1, "gaussian_weights": True, "use_sample_covariance": False, "data_range": 255}
    assert table.ssim(BLOCKS, noisy) == structural_similarity(BLOCKS, noisy, **how)
    assert table.psnr(BLOCKS, BLOCKS) == 100
    with pytest.raises(UserError, match=r"tiny has 8x48 pixels; SSIM needs at least 11x11\. Remove it."):
        table.compared([("tiny", BLOCKS[:8])], (noises.Gaussian(0.1),), 0, lambda one, name: one.image)


def test_gains_are_of_the_same_images():
    scores = {"network": {"psnr": [30.0, 20.0], "ssim": [1.0, 0.5]}, "other": {"psnr": [29.0, 22.0], "ssim": [1.0, 0.5]}}
    assert table.summary(scores)["other"] == {"psnr": 25.5, "ssim": 0.75, "gain": -0.5, "better": 0.5}


def test_a_rival_gets_the_setting_that_is_best_for_it():
    pairs = [(BLOCKS, restoration.degraded(BLOCKS, (noises.Gaussian(25 / 255),), 0, 0))]
    [means, _] = rivals.of_task((noises.Gaussian(25 / 255),))
    best = rivals.tuned(means, pairs, table.psnr)
    each = {setting: table.psnr(BLOCKS, means.restore(pairs[0][1], setting)) for setting in means.settings}
    assert each[best] == max(each.values())
    assert means.settings == (10.0, 15.0, 17.5, 20.0, 25.0, 30.0)
    assert each[best] > table.psnr(BLOCKS, pairs[0][1].image) + 1


def test_wiener_undoes_a_blur():
    noise = (noises.Blur(1.6), noises.Rounded())
    smooth = cv2.GaussianBlur(cv2.resize(BLOCKS, (96, 64), interpolation=cv2.INTER_CUBIC), (0, 0), 1.5)
    one = restoration.degraded(smooth, noise, 0, 0)
    [wiener] = rivals.of_task(noise)
    result = wiener.restore(one, rivals.tuned(wiener, [(smooth, one)], table.psnr))
    assert table.psnr(smooth, result) > table.psnr(smooth, one.image) + 3


def test_without_scikit_image_the_table_names_the_extra(run, networks, photos, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "skimage", None)
    assert run(networks["denoise"], f"--input={photos}", "--table") == 2
    assert "--table needs scikit-image, which is not installed. Run: pip install -e '.[restore]'." in capsys.readouterr().err
