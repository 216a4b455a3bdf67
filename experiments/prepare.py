"""Write the array_record files of a TensorFlow Datasets data set, which data/sources/tfds.py reads without TensorFlow.

    python -m experiments.prepare --name=oxford_iiit_pet --data_dir=data/tfds
    python -m experiments.prepare --name=scene_parse150_semantic --data_dir=data/tfds --manual_dir=ADEChallengeData2016

TFDS's builders need TensorFlow only for this step: pip install "tensorflow-cpu>=2.20" (the extra `prepare`).  Our
`scene_parse150_semantic` does not need it; it replaces TFDS's scene_parse150, which has the masks of the instance benchmark instead of the
150 classes.  Download Cityscapes and imagenet2012 by hand into --manual_dir (their licences require it).
"""

import difflib
import importlib.util
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from aeseg.data.sources.tfds import data_root, prepared
from aeseg.types import UserError

from .console import cli

HOSTS = {
    "oxford_iiit_pet": "https://thor.robots.ox.ac.uk",
    "cifar10": "https://www.cs.toronto.edu",
    "coco": "http://images.cocodataset.org",
    "nyu_depth_v2": "http://datasets.lids.mit.edu",
}
"""Hosts from which TFDS downloads a data set; the default is Google's storage."""

BY_HAND = ("cityscapes", "imagenet2012", "scene_parse150_semantic")
"""Data sets whose files must be downloaded by hand into --manual_dir."""


class SceneParse150Semantic(tfds.core.GeneratorBasedBuilder):
    """ADE20K, the 150 classes of the scene parsing benchmark (Zhou et al. 2017), from ADEChallengeData2016.zip."""

    name = "scene_parse150_semantic"
    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, source: str = "", **kwargs: Any) -> None:
        self._root = Path(source)
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "annotation": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict({"classes": _ade_classes(self._root)}),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples("training"), "validation": self._generate_examples("validation")}

    def _generate_examples(self, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in sorted((self._root / "images" / folder).glob("*.jpg")):
            annotation = self._root / "annotations" / folder / f"{path.stem}.png"
            yield path.stem, {"image": path.read_bytes(), "annotation": annotation.read_bytes(), "file_name": path.stem}


def run(argv: Sequence[str]) -> None:
    flags = cli.parse(
        argv,
        __doc__,
        name=("", "name of the data set: name, name/config or name/config:version"),
        data_dir=("", "folder for the result; default $TFDS_DATA_DIR or ~/tensorflow_datasets"),
        manual_dir=("", "folder of files that you downloaded by hand"),
    )
    if not flags.name:
        raise UserError("Expected a data set to prepare; --name is missing. Set --name=oxford_iiit_pet, for example.")
    print(f"{flags.name} is in {prepare(flags.name, flags.data_dir, flags.manual_dir)}")


def prepare(name: str, data_dir: str = "", manual_dir: str = "") -> Path:
    """Prepare a data set if needed, possibly with downloads; return its directory."""
    done = prepared(name, data_dir)
    if done is not None:
        return done
    base = name.split("/")[0].split(":")[0]
    root = data_root(data_dir)
    if base in BY_HAND and not Path(manual_dir or "?").is_dir():
        raise UserError(
            f"Expected the files of {base} in --manual_dir; {manual_dir!r} is not a directory. Download them by hand "
            f"({_manual_source(base)}), and set --manual_dir to their directory."
        )
    if base == SceneParse150Semantic.name:
        builder = SceneParse150Semantic(source=_ade_root(manual_dir), data_dir=str(root), file_format="array_record")
    else:
        builder = _stock(name, base, root)
    config = tfds.download.DownloadConfig(manual_dir=str(Path(manual_dir).absolute()) if manual_dir else None)
    try:
        builder.download_and_prepare(download_config=config)
    except (OSError, AssertionError, tfds.download.NonMatchingChecksumError) as error:
        raise UserError(f"{name} could not be prepared in {root}: {error}") from error
    return Path(builder.data_path)


def _stock(name: str, base: str, root: Path) -> Any:
    """Return TFDS's builder; raise at once for problems that TFDS reports only after minutes of retries."""
    if importlib.util.find_spec("tensorflow") is None:
        raise UserError(
            f"TFDS needs TensorFlow to prepare {name} (not to read it). Install it: pip install 'tensorflow-cpu>=2.20'; "
            "or prepare it on another machine and copy the directory."
        )
    if base not in tfds.list_builders(with_community_datasets=False):
        close = difflib.get_close_matches(base, tfds.list_builders(with_community_datasets=False), n=3)
        raise UserError(f"TFDS has no data set {base!r}{f'; did you mean {chr(32).join(close)}?' if close else '.'} Correct --name.")
    if base not in BY_HAND:
        _check_network(HOSTS.get(base, "https://storage.googleapis.com"))
    return tfds.builder(name, data_dir=str(root), file_format="array_record", try_gcs=False)


def _check_network(url: str, seconds: float = 5.0) -> None:
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError:
        return  # it answered
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"Cannot reach {url} ({reason}), the source of the data set. Run this on a machine with network access, and "
            "copy the directory that it writes."
        ) from error


def _manual_source(base: str) -> str:
    sources = {
        "cityscapes": "https://www.cityscapes-dataset.com: leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip",
        "imagenet2012": "https://www.image-net.org: ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar",
        "scene_parse150_semantic": "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip, unpacked",
    }
    return sources[base]


def _ade_root(manual_dir: str) -> str:
    for root in (Path(manual_dir), Path(manual_dir, "ADEChallengeData2016")):
        if (root / "images" / "training").is_dir() and (root / "annotations" / "training").is_dir():
            return str(root)
    raise UserError(
        f"--manual_dir={manual_dir!r} should have images/training, annotations/training and objectInfo150.txt of "
        f"ADEChallengeData2016. Download it ({_manual_source(SceneParse150Semantic.name)})."
    )


def _ade_classes(root: Path) -> list[str]:
    """Return the 150 names, the first synonym in the last column of objectInfo150.txt."""
    try:
        lines = (root / "objectInfo150.txt").read_text().splitlines()[1:]
    except OSError as error:
        raise UserError(f"Cannot read {root / 'objectInfo150.txt'} with the names of the classes: {error.strerror}.") from error
    return [re.split("[,;]", line.split("\t")[-1])[0].strip() for line in lines if line.strip()]


if __name__ == "__main__":
    cli.main(run)
