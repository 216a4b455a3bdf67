import wave

import numpy as np
import pytest
from PIL import Image

from aeseg import spec
from aeseg.data.inspection import companions, report
from aeseg.data.sources.folder import Folder
from aeseg.runs.data import split_config


def saved(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path):
    """Make four images with masks, a thermal plane, a caption and a second of sound each."""
    grey = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32)
    for index in range(4):
        saved(tmp_path / f"images/{index}.png", np.stack([grey] * 3, axis=-1))
        saved(tmp_path / f"labels/{index}.png", np.where(grey > 100, 255, 0).astype(np.uint8))
        saved(tmp_path / f"thermal/{index}.png", grey)
        (tmp_path / "words").mkdir(exist_ok=True)
        (tmp_path / f"words/{index}.txt").write_text("a leaf")
        (tmp_path / "sounds").mkdir(exist_ok=True)
        with wave.open(str(tmp_path / f"sounds/{index}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 16000, "NONE", ""))
            file.writeframes(bytes(32000))
    return tmp_path


def test_folders_of_the_images_names_are_suggested_as_modalities_with_the_flag_that_reads_them(root):
    found = report.inspect(str(root), str(root / "out"), {}, 60.0, progress=lambda text: None)
    lines = [line for line in found.sections["Suggestions"] if "further modalities" in line]
    assert [line.split(":")[0] for line in lines] == ["aligned = ('thermal',)", "captions = 'words'", "audio = 'sounds'"]
    assert "thermal has 4 files" in lines[0]
    assert lines[0].endswith("""--aligned="('thermal',)\"""")
    assert lines[1].endswith("--captions=words")
    answers = {"aligned": ("thermal",), "captions": "words", "audio": "sounds"}
    found = report.inspect(str(root), str(root / "out"), answers, 60.0, progress=lambda text: None)
    assert not [line for line in found.sections["Suggestions"] if "further modalities" in line]
    assert spec.build(split_config(found.description, "train")).planes == {"thermal": 1}


def test_folders_of_other_names_or_sizes_are_not_suggested(root):
    saved(root / "thumbnails/0.png", np.zeros((8, 8), np.uint8))
    saved(root / "others/x.png", np.zeros((32, 32), np.uint8))
    source = Folder(str(root), class_table="background #000000, leaf #ffffff")
    assert [suggestion.value for suggestion in companions.suggested(source) if suggestion.name == "aligned"] == ["('thermal',)"]


def test_without_a_folder_of_images_nothing_is_suggested(root):
    assert companions.suggested(Folder(str(root / "images"), images="", labels="")) == []
