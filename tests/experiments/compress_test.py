"""`compress` and `decompress` with a tiny network trained for one step: files, tables and errors."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from aeseg import files
from experiments import compress, decompress, pretrain, report
from experiments.compression import measures, results, table
from experiments.console import cli
from experiments.recorded import measurements
from tests.imports_test import ROOT

TINY = ("--config=scenes:hyperprior,tiny", "--config.window=(16,16)", "--config.batch_size=8", "--config.steps=1")
SMALL = tuple(f"--config.data.{split}.{field}=16" for split in ("train", "validation", "test") for field in ("height", "width", "records"))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    assert cli.guarded(pretrain.run, ["program", *TINY, *SMALL, f"--workdir={workdir}"]) == 0
    return workdir


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    (folder / "more").mkdir()
    for name, size in (("a.png", (20, 33)), ("a.bmp", (20, 33)), ("more/c.jpg", (40, 16))):
        Image.fromarray(random.integers(0, 256, (*size, 3)).astype(np.uint8)).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def compressed(workdir, photos, tmp_path_factory):
    output = tmp_path_factory.mktemp("results") / "compressed"
    assert run(compress, workdir, photos, output) == 0
    return output


def run(module, workdir, source, output, *flags):
    return cli.guarded(module.run, ["program", f"--init={workdir}", f"--input={source}", f"--output={output}", *flags])


def test_every_image_becomes_a_file_and_every_file_the_encoders_image(workdir, photos, compressed, tmp_path, capsys):
    record = json.loads((compressed / "compressed.json").read_text())
    names = {"a_png": (20, 33), "a_bmp": (20, 33), "more/c": (40, 16)}
    assert {one["name"] for one in record["images"].values()} == set(names)
    for one in record["images"].values():
        assert one["bytes"] == (compressed / f"{one['name']}.aeseg").stat().st_size
    assert list(workdir.glob("codec-1.npz"))
    assert run(decompress, workdir, compressed, tmp_path / "out") == 0
    assert "exact       3 of 3" in capsys.readouterr().out
    for name, size in names.items():
        decoded = np.asarray(Image.open(tmp_path / "out" / f"{name}.png"))
        assert decoded.shape == (*size, 3)
        [(path, one)] = [(path, one) for path, one in record["images"].items() if one["name"] == name]
        error = np.mean(np.square(np.asarray(Image.open(path)).astype(float) - decoded)) / 255**2
        assert one["psnr"] == pytest.approx(-10 * np.log10(error), rel=1e-6)
    for folder in (compressed, tmp_path / "out"):
        assert (folder / "overview.png").exists()


def test_another_process_with_other_instructions_decodes_the_same_bits(workdir, compressed, tmp_path):
    """A processor with only SSE4.2 sums in another order; the integers are derived from the checkpoint there, not read."""
    copy = tmp_path / "elsewhere"
    subprocess.run(["cp", "-r", workdir, copy], check=True)
    (copy / "codec-1.npz").unlink()
    command = [sys.executable, "-m", "experiments.decompress", f"--init={copy}", f"--input={compressed}", f"--output={tmp_path / 'out'}"]
    environment = {**os.environ, "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2", "XDG_CACHE_HOME": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": ""}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "exact       3 of 3" in result.stdout


def test_bad_files_are_listed_and_do_not_end_the_others(workdir, photos, compressed, tmp_path, capsys):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "good.aeseg").write_bytes((compressed / "a_png.aeseg").read_bytes())
    (bad / "cut.aeseg").write_bytes((compressed / "a_png.aeseg").read_bytes()[:-9])
    (bad / "foreign.aeseg").write_bytes(b"\x89PNG nothing")
    (bad / "empty.aeseg").write_bytes(b"")
    assert run(decompress, workdir, bad, tmp_path / "out") == 1
    printed = capsys.readouterr()
    assert "1 of 4 files" in printed.out
    assert "cut.aeseg: is damaged: its checksum does not fit its" in printed.err
    assert "foreign.aeseg: is not a compressed image of aeseg, which begins with AESG." in printed.err
    (bad / "deep.png").write_bytes(b"")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(bad / "deep.png")
    (bad / "broken.png").write_bytes(b"\x89PNG nothing")
    Image.open(photos / "a.png").save(bad / "good.png")
    assert run(compress, workdir, bad, tmp_path / "again") == 1
    printed = capsys.readouterr()
    assert "1 of 3 images" in printed.out
    assert "deep.png: has uint16 values; compress stores 8 bits per channel. Convert it to uint8." in printed.err
    assert "broken.png: is not an image that can be read" in printed.err


def test_files_that_were_there_before_are_not_overwritten(workdir, photos, tmp_path, capsys):
    (tmp_path / "a.aeseg").write_bytes(b"of somebody")
    assert run(compress, workdir, photos / "a.png", tmp_path) == 2
    assert "so it is not overwritten. Set another --output." in capsys.readouterr().err
    assert (tmp_path / "a.aeseg").read_bytes() == b"of somebody"


@pytest.mark.parametrize(
    ("module", "flags", "says"),
    [
        (compress, ("--init=",), "Expected the workdir of a hyperprior; got none"),
        (compress, ("--quantiser=9",), "a factor from 0.125 to 8; got --quantiser=9.0"),
        (compress, ("--most=-1",), "got --most=-1"),
        (compress, ("--record",), "Set --table, too"),
        (compress, ("--input=nothing",), "matches none. Set --input to a file, a folder with .bmp"),
        (compress, ("--table", "--init="), "Expected workdirs, separated by commas"),
        (decompress, ("--init=nowhere", f"--input={__file__}"), "there is no nowhere/config.json"),
        (decompress, ("--input=nothing",), "matches none. Set --input to a file, a folder with .aeseg"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_arguments_are_refused_with_one_sentence(workdir, photos, tmp_path, capsys, module, flags, says):
    assert run(module, workdir, photos, tmp_path / "out", *flags) == 2
    assert says in capsys.readouterr().err


def test_another_method_cannot_compress(workdir, photos, tmp_path, capsys):
    other = tmp_path / "denoising"
    flags = [word.replace("hyperprior", "denoising") for word in (*TINY, *SMALL)]
    assert cli.guarded(pretrain.run, ["program", *flags, f"--workdir={other}"]) == 0
    assert run(compress, other, photos, tmp_path / "out") == 2
    assert "Expected a run of the method hyperprior; " in capsys.readouterr().err


def test_the_table_measures_real_files_and_is_recorded(workdir, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measures, "RIVALS", {"JPEG": (5, 50), "WebP": (5, 50)})
    monkeypatch.setattr(measures, "COARSER", (0, 9))
    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path / "results"))
    output = tmp_path / "table"
    assert run(compress, workdir, photos, output, "--table", "--record", "--most=2") == 0
    lines = json.loads((output / "table.json").read_text())
    assert [json.loads(line) for line in (tmp_path / "results/compress.jsonl").read_text().splitlines()] == lines
    points = {(line["coder"], line["setting"]): line for line in lines if "coder" in line}
    assert len(points) == 6
    chosen = [photos / "a.bmp", photos / "more/c.jpg"]
    image = np.asarray(Image.open(chosen[0]))
    Image.fromarray(image).save(tmp_path / "b.jpg", quality=50, optimize=True)
    other = np.asarray(Image.open(chosen[1]))
    Image.fromarray(other).save(tmp_path / "c.jpg", quality=50, optimize=True)
    size = (tmp_path / "b.jpg").stat().st_size + (tmp_path / "c.jpg").stat().st_size
    assert points["JPEG", 50]["bits"] == pytest.approx(8 * size / (20 * 33 + 40 * 16))
    assert points["JPEG", 50]["psnr"] > points["JPEG", 5]["psnr"]
    assert points[workdir.name, 1.0]["seed"] == 0
    assert points["WebP", 5]["ms_ssim"] is None, "the images are too small"
    assert {"seconds", "device", "commit"} <= lines[0].keys()
    assert "WebP from JPEG: " in capsys.readouterr().out
    for picture in ("curves.png", "comparison.png"):
        assert np.asarray(Image.open(output / picture)).std() > 5
    evaluations = files.json_object(str(workdir / "metrics.json"))
    assert evaluations[f"files of {photos.name}"]["psnr"] == pytest.approx(points[workdir.name, 1.0]["psnr"])
    assert "| JPEG | 50 | " in results.table()
    assert "WebP from JPEG | " in results.table()
    page = tmp_path / "page.html"
    assert cli.guarded(report.run, ["program", str(workdir), f"--output={page}"]) == 0
    assert f"files of {photos.name}" in page.read_text()


def test_only_settings_that_no_other_beats_make_a_curve():
    points = [measures.Point("a", setting, *numbers, 0.9) for setting, numbers in enumerate([(1.0, 30.0), (2.0, 29.0), (3.0, 35.0)])]
    assert table.curve(points, ("a",), "psnr") == [(1.0, 30.0), (3.0, 35.0)]
