"""aeseg/runs/evaluations.py: all evaluations are kept; missing, damaged and other files are handled by one rule."""

import datetime
import json

import pytest

from aeseg.runs import evaluations


def test_a_file_keeps_the_last_scores_of_each_split_and_all_earlier_scores(tmp_path):
    workdir = str(tmp_path / "new")
    for split, iou in (("test", 0.1), ("validation", 0.2), ("test", 0.3)):
        path = evaluations.add(workdir, split, {"mean_iou": iou})
    assert path == str(tmp_path / "new" / "metrics.json")
    kept = evaluations.read(workdir)
    assert kept.last == {"test": {"mean_iou": 0.3}, "validation": {"mean_iou": 0.2}}
    assert [(scores["split"], scores["mean_iou"]) for scores in kept.every] == [("test", 0.1), ("validation", 0.2), ("test", 0.3)]
    assert all(datetime.datetime.fromisoformat(scores["date"]).tzinfo for scores in kept.every)
    assert evaluations.read(workdir, "probe.json") == ({}, [])


def test_scores_without_a_history_are_from_an_earlier_version_and_kept(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({"test": {"mean_iou": 0.5}}))
    evaluations.add(str(tmp_path), "validation", {"mean_iou": 0.4})
    kept = evaluations.read(str(tmp_path))
    assert kept.last == {"test": {"mean_iou": 0.5}, "validation": {"mean_iou": 0.4}}
    assert len(kept.every) == 1


OTHERS = {
    "damaged": "{",
    "zeros": "\0\0",
    "a list": "[3]",
    "a number": '{"test": 0.5}',
    "another history": '{"test": {}, "evaluations": {"test": {}}}',
    "a history of numbers": '{"evaluations": [3]}',
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS.keys())
def test_a_file_with_other_content_has_no_evaluations_and_is_moved_aside(text, tmp_path, capsys):
    path = tmp_path / "metrics.json"
    path.write_text(text)
    assert evaluations.read(str(tmp_path)) == ({}, [])
    assert path.read_text() == text, "reading changes nothing"
    evaluations.add(str(tmp_path), "test", {"mean_iou": 0.1})
    assert (tmp_path / "metrics.json.damaged").read_text() == text
    assert "metrics.json holds no scores; it is moved to " in capsys.readouterr().err
    assert evaluations.read(str(tmp_path)).last == {"test": {"mean_iou": 0.1}}


def test_a_folder_in_place_of_the_file_is_also_moved_aside(tmp_path):
    (tmp_path / "metrics.json").mkdir()
    assert evaluations.read(str(tmp_path)) == ({}, [])
    evaluations.add(str(tmp_path), "test", {})
    assert (tmp_path / "metrics.json.damaged").is_dir()
