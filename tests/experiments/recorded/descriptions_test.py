"""experiments/recorded/descriptions.py: recorded results survive a refactoring, but not a changed row."""

import json
import shutil
import sys
import types

import pytest

from aeseg import renames, spec
from aeseg.methods import segmenter
from aeseg.models.heads import unet
from aeseg.runs import configs, workdir
from aeseg.runs.configs import method_config
from aeseg.types import UserError
from experiments import papers
from experiments.console import cli
from experiments.papers import Row
from experiments.recorded import descriptions, measurements
from tests.imports_test import ROOT

TABLES = [
    (table, scale)
    for table in spec.names("experiments.papers")
    for scale in papers.SCALES
    if any(row.scale == scale for row in spec.module("experiments.papers", table).ROWS) and measurements.lines(table)
]


def recorded():
    """Return the rows and seeds that each table shows."""
    shown = {}
    for table, scale in TABLES:
        paper = papers.at_scale(spec.module("experiments.papers", table), scale)
        shown[table, scale] = sorted((line["row"], line["seed"]) for line in measurements.current(table, paper))
    return shown


def assert_every_line_is_shown():
    shown = dict.fromkeys((table for table, _ in TABLES), 0)
    for (table, _), rows in recorded().items():
        shown[table] += len(rows)
    assert shown == {table: len({(line["row"], line["seed"]) for line in measurements.lines(table)}) for table in shown}


@pytest.fixture
def refactored(monkeypatch):
    """Refactor: add a default to Segmenter, and move UNetHead to another module."""

    class Segmenter(segmenter.Segmenter):
        sharpen: float = 0.0

    class UNetHead(unet.UNetHead):
        pass

    Segmenter.__module__, Segmenter.__qualname__ = segmenter.__name__, "Segmenter"
    elsewhere = types.ModuleType("aeseg.models.heads.contracting")
    UNetHead.__module__, UNetHead.__qualname__ = elsewhere.__name__, "UNetHead"
    elsewhere.UNetHead = UNetHead
    monkeypatch.setitem(sys.modules, elsewhere.__name__, elsewhere)
    for module in (segmenter, configs):
        monkeypatch.setattr(module, "Segmenter", Segmenter)
    monkeypatch.setattr(unet, "UNetHead", UNetHead)
    monkeypatch.setitem(renames.TARGETS, "aeseg.models.heads.unet:UNetHead", "aeseg.models.heads.contracting:UNetHead")
    descriptions.forget()
    yield
    descriptions.forget()  # it has cached the refactored code


def test_every_recorded_row_of_every_table_is_still_shown_after_a_refactoring(refactored):
    described = method_config("unet")
    assert described.sharpen == 0.0
    assert described.head.target == "aeseg.models.heads.contracting:UNetHead"
    assert_every_line_is_shown()


def test_every_recorded_row_is_still_shown_after_a_field_was_renamed(tmp_path, monkeypatch):
    """As if ConvNet's `widths` had another name when the results were recorded."""
    convnet = "aeseg.models.encoders.convnet:ConvNet"
    shutil.copytree(measurements.RESULTS, tmp_path / "results", ignore=shutil.ignore_patterns("pictures"))
    renamed = 0

    def old(node):
        nonlocal renamed
        if node.get("target") == convnet and "widths" in node:
            renamed += 1
            node = {"channels_of_levels" if name == "widths" else name: value for name, value in node.items()}
        return node

    for path in (tmp_path / "results" / "configs").iterdir():
        lines = [json.loads(line, object_hook=old) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert renamed > 100
    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path / "results"))
    assert not measurements.current("drive", spec.module("experiments.papers", "drive")), "no row has the recorded field"
    monkeypatch.setitem(renames.FIELDS, convnet, {"channels_of_levels": "widths"})
    descriptions.forget()
    assert_every_line_is_shown()


def test_a_workdir_from_before_a_refactoring_belongs_to_the_same_run(tmp_path, refactored):
    """An earlier version wrote its config.json: no target at the top, `freeze`, and complete data fields in each split."""
    old = json.loads((ROOT / "tests/golden/configs/segment-unet.json").read_text())
    assert "target" not in old
    assert "freeze" in old
    (tmp_path / "config.json").write_text(json.dumps(old))
    config = cli.load_config("segment")
    config.optimiser.learning_rate = 2e-3  # the default of that version
    workdir.check_workdir(str(tmp_path), config)
    config.transfer = "scratch"
    with pytest.raises(UserError, match=r'config\.transfer: "fine-tune" -> "scratch"'):
        workdir.check_workdir(str(tmp_path), config)


def test_an_absent_field_has_the_default_of_its_time(monkeypatch):
    """A default that changes results is recorded once; otherwise old results would count as new results."""
    config = cli.load_config("segment")
    old = spec.plain(config)
    del old["method"]["frozen_encoder"]
    assert workdir.comparable(old) == workdir.comparable(config)
    monkeypatch.setitem(renames.MEANT, "aeseg.methods.segmenter:Segmenter", {"frozen_encoder": True})
    assert workdir.comparable(old)["method"]["frozen_encoder"] is True
    assert workdir.comparable(old) != workdir.comparable(config)


def test_a_description_is_stored_once_with_its_starting_row(tmp_path):
    rows = (Row("denoising", "pretrain", "pretrain"), Row("pretrained", "segment", "segment", init="denoising"))
    path = str(tmp_path / "configs" / "table.jsonl")
    described = descriptions.described(rows)
    name = descriptions.store(path, described["pretrained"])
    assert descriptions.store(path, described["pretrained"]) == name
    stored = descriptions.stored(path)
    assert len(stored) == 2
    assert descriptions.meaning(stored[name]) == descriptions.meaning(described["pretrained"])
    assert stored[name]["init"]["command"] == "pretrain"


def test_paths_and_loading_settings_do_not_change_the_meaning():
    """Roots, threads, workers, caches, logs and messages change no number."""
    row = Row("scratch", "segment", "camvid_small:unet")
    fields = {"data.root": "/elsewhere", "data.threads": 7, "data.cache_gib": 0.0, "log_every": 3, "keep": 5, "next": "segment"}
    meanings = {descriptions.meaning(descriptions.described([row._replace(overrides=each)])["scratch"]) for each in ({}, fields)}
    assert len(meanings) == 1


def test_configs_and_rows_are_matched_once_until_the_file_of_configs_changes(tmp_path, monkeypatch):
    rows = (Row("scratch", "segment", "segment"), Row("longer", "segment", "segment", {"steps": 3200}))
    path, loaded, load = str(tmp_path / "table.jsonl"), [], cli.load_config
    monkeypatch.setattr(cli, "load_config", lambda name: loaded.append(name) or load(name))
    descriptions.forget()
    assert descriptions.matching(path, rows) == {"scratch": set(), "longer": set()}
    name = descriptions.store(path, descriptions.described(rows)["longer"])
    first = descriptions.matching(path, rows)
    assert first == {"scratch": set(), "longer": {name}}
    assert descriptions.matching(path, rows) is first
    assert loaded == ["segment"], "both rows are of one config"
    assert descriptions.described(rows)["scratch"]["config"]["steps"] == 1600
