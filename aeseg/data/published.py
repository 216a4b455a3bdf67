"""Published data sets as folders, in the splits of their papers."""

from ml_collections import ConfigDict

from aeseg.data.sources.folder import Folder
from aeseg.spec import spec
from aeseg.types import UserError

CAMVID_CLASSES = (
    "sky #808080, building #800000, pole #c0c080, road #804080, pavement #3c28de, tree #808000, "
    "sign #c08080, fence #404080, car #400080, pedestrian #404000, bicyclist #0080c0"
)
"""The 11 classes of the SegNet split of CamVid, in SegNet's colours; id 11 is void."""

SEGNET_WEIGHTS = {
    "sky": 0.2595, "building": 0.1826, "pole": 4.564, "road": 0.1417, "pavement": 0.9051, "tree": 0.3826,
    "sign": 9.6446, "fence": 1.8418, "car": 0.6823, "pedestrian": 6.2478, "bicyclist": 7.3614,
}  # fmt: skip
"""Class weights published with SegNet's models; they differ from the median frequencies of the 367 training images."""


def camvid(split: str, root: str = "data/camvid") -> ConfigDict:
    """Return CamVid (Brostow et al. 2009) in SegNet's split, 360x480: train 367, val 101 (one sequence), test 233."""
    _check_split("CamVid", split, ("train", "val", "test"))
    return spec(
        Folder, root=root, images=split, labels=f"{split}annot", list_file=f"{split}.txt", list_prefix="/SegNet/CamVid/",
        class_table=CAMVID_CLASSES, ignore_ids=(11,),
    )  # fmt: skip


def drive(split: str, root: str = "data/drive") -> ConfigDict:
    """Return DRIVE (Staal et al. 2004), vessels inside the field of view.  Train has 18 and validation 2 of the 20 official training
    images; test has the 20 official test images (labels of the first observer)."""
    _check_split("DRIVE", split, ("train", "validation", "test"))
    return spec(
        Folder, root=root, labels="labels", roi="fov", binary_threshold=128, class_table="background #000000, vessel #ffffff",
        list_file=f"splits/official_{'test' if split == 'test' else 'train'}.txt",
        part={"train": (0.0, 0.9), "validation": (0.9, 1.0), "test": (0.0, 1.0)}[split],
    )  # fmt: skip


def camvid_splits(root: str = "data/camvid") -> dict[str, ConfigDict]:
    """Return `camvid` for each split of a run."""
    return {split: camvid(name, root) for split, name in (("train", "train"), ("validation", "val"), ("test", "test"))}


def drive_splits(root: str = "data/drive") -> dict[str, ConfigDict]:
    """Return `drive` for each split of a run."""
    return {split: drive(split, root) for split in ("train", "validation", "test")}


def _check_split(data: str, split: str, splits: tuple[str, ...]) -> None:
    if split not in splits:
        raise UserError(f"{data} has the splits {', '.join(splits)}; got {split!r}. Name one of these.")
