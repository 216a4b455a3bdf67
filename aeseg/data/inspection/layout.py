"""Guess of the locations of images, labels, splits and class tables, from the names of folders and files."""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aeseg.data import tables
from aeseg.data.files import IMAGES, LABELS, few, text
from aeseg.data.listing import files_below
from aeseg.types import UserError

_IMAGES = {
    "images",
    "image",
    "imgs",
    "img",
    "jpegimages",
    "leftimg8bit",
    "rgb",
    "photos",
    "pictures",
    "input",
    "inputs",
    "imagestr",
    "frames",
}
_LABELS = {
    "labels",
    "label",
    "masks",
    "mask",
    "annotations",
    "annotation",
    "annots",
    "annot",
    "gt",
    "gtfine",
    "groundtruth",
    "ground_truth",
}
_LABELS |= {"segmentationclass", "segmentations", "segmentation", "seg", "targets", "target", "labelstr"}
_ROIS = {"fov", "roi", "rois"}
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
}
_SPLITS |= {"test": "test", "testing": "test"}
_SUFFIXES = ("_mask", "_masks", "-mask", ".mask", "_label", "_labels", "_seg", "_segmentation", "_gt", "_annotation", "_labelIds", "_L")
_TABLES = re.compile(r"(class\w*|labels?|names|id2label|categories|colou?rs|label_?map|dataset)\.(json|csv|txt|ya?ml)|data\.ya?ml", re.I)

_TEMPLATES = [("{stem}_leftImg8bit", f"{{stem}}_gtFine_{ids}") for ids in ("labelTrainIds", "labelIds")]  # Cityscapes
_JSON = 30  # JSON files without an image of the same name that are opened


class Layout(NamedTuple):
    """A layout: `Folder` fields for all splits, fields of each split, a class table, notes."""

    kind: str
    fields: dict[str, Any]
    splits: dict[str, dict[str, Any]]
    table: str
    notes: tuple[str, ...]


def guess(root: str) -> Layout:
    """Guess the layout of a folder; UserError if it holds no image."""
    paths, repeated = files_below(root, ".", (*LABELS, ".csv", ".yaml", ".yml"))
    pictures = [path for path in paths if path.lower().endswith(IMAGES)]
    if not pictures:
        kinds = Counter(os.path.splitext(name)[1].lower() for _, _, names in os.walk(root) for name in names)
        raise UserError(f"There is no image in {root}; its files end in {few(kinds)}. Images end in {', '.join(IMAGES)}.")
    table = next((path for path in paths if _TABLES.fullmatch(os.path.basename(path)) and _is_table(root, path)), "")
    notes = [f"{repeated} files are links to others and are read once"] if repeated else []
    for find in (_nnunet, _coco, _objects, _folders, _one_folder):
        layout = find(root, paths, pictures)
        if layout:
            splits = layout.splits or _lists(root, paths)
            return layout._replace(table=layout.table or table, splits=splits, notes=(*notes, *layout.notes))
    return Layout("images alone", {"images": ".", "labels": ""}, {}, "", tuple(notes))


def _nnunet(root: str, paths: Sequence[str], pictures: Sequence[str]) -> Layout | None:
    if "dataset.json" not in paths or not any(path.startswith(f"imagesTr{os.sep}") for path in pictures):
        return None
    channels = {match[1] for path in pictures if (match := re.search(r"imagesTr/.*_(\d{4})\.\w+$", path))}
    fields: dict[str, Any] = {"images": "imagesTr", "labels": "labelsTr", "image_name": "{stem}_{channel}"}
    if len(channels) > 1:
        fields["channels"] = len(channels)
    else:
        fields["image_name"] = "{stem}_0000"
    return Layout("nnU-Net", fields, {}, "dataset.json", (f"{max(1, len(channels))} files for each image's channels",))


def _coco(root: str, paths: Sequence[str], pictures: Sequence[str]) -> Layout | None:
    stems = {os.path.splitext(os.path.basename(path))[0] for path in pictures}
    lone = [path for path in paths if path.lower().endswith(".json") and os.path.splitext(os.path.basename(path))[0] not in stems]
    files = [path for path in lone[:_JSON] if _says(root, path, ("annotations", "images", "categories"))]
    if not files:
        return None
    splits: dict[str, dict[str, Any]] = {}
    for path in files:
        split = _split_of(os.path.splitext(os.path.basename(path))[0])
        folder = next((os.path.dirname(picture) for picture in pictures if split and _split_of(os.path.dirname(picture)) == split), "")
        if split:
            splits[split] = {"labels": path, **({"images": folder} if folder else {})}
    fields = {"images": _common([os.path.dirname(path) for path in pictures]), "labels": files[0], "only_labelled": True}
    return Layout("COCO annotations", fields, splits if len(splits) > 1 else {}, "", ())


def _objects(root: str, paths: Sequence[str], pictures: Sequence[str]) -> Layout | None:
    """Match `<id>/images/<id>.png` with `<id>/masks/*.png`: one mask for each object."""
    folders: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in pictures:
        parts = path.split(os.sep)
        if len(parts) >= 3:
            role = "images" if parts[-2].lower() in _IMAGES else "masks" if parts[-2].lower() in _LABELS else ""
            folders[os.sep.join(parts[:-2])][role].append(path)
    both = [folder for folder, roles in folders.items() if len(roles["images"]) == 1 and roles["masks"]]
    if len(both) < max(1, 0.5 * len(folders)) or sum(len(folders[folder]["masks"]) for folder in both) <= len(both):
        return None
    parent = _common([os.path.dirname(folder) or "." for folder in both])
    first = folders[both[0]]["images"][0], folders[both[0]]["masks"][0]
    image, mask = (os.path.basename(os.path.dirname(path)) for path in first)
    fields = {"images": parent, "labels": parent, "image_name": f"{{stem}}/{image}/{{stem}}", "label_name": f"{{stem}}/{mask}/*"}
    return Layout("one mask file for each object", fields, {}, "", ())


def _folders(root: str, paths: Sequence[str], pictures: Sequence[str]) -> Layout | None:
    """Match folders of images and of labels, or one such pair for each split."""
    roles: dict[str, Counter[str]] = defaultdict(Counter)
    for path in paths:
        folder = os.path.dirname(path)
        role = _role(folder)
        if path.lower().endswith(IMAGES) or (role == "labels" and not _TABLES.fullmatch(os.path.basename(path))):
            roles[role][folder or "."] += 1
    labels = roles["labels"]
    if not labels or not (roles["images"] or roles[""]):
        return None
    images = roles["images"] or roles[""]
    names = sorted(images), sorted(labels)
    members: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for key, folders in zip(("images", "labels"), names, strict=True):
        for folder in folders:
            if split := _split_of(folder):
                members[split][key].append(folder)
    splits = {split: {key: _common(folders) for key, folders in roles.items()} for split, roles in members.items()}
    templates = next((pair for pair in _TEMPLATES if all(any(_fits(part, path) for path in pictures) for part in pair)), ())
    named = dict(zip(("image_name", "label_name"), templates, strict=False))
    notes = []
    if len(splits) > 1 and all(len(roles) == 2 for roles in splits.values()):
        fields: dict[str, Any] = {**(splits["train"] if "train" in splits else next(iter(splits.values()))), **named}
        return Layout("a pair of folders for each split", fields, splits, "", ())
    label_tops = Counter({top: sum(count for folder, count in labels.items() if _below(folder, top)) for top in _tops(labels)})
    image_tops = Counter({top: sum(count for folder, count in images.items() if _below(folder, top)) for top in _tops(images)})
    known = [top for top in image_tops if os.path.basename(top).lower() in _IMAGES]
    image = known[0] if known else image_tops.most_common(1)[0][0]
    exact = [top for top in label_tops if os.path.basename(top).lower() in _LABELS and top != image]
    label = exact[0] if exact else label_tops.most_common(1)[0][0]
    fields = {"images": image, "labels": label, **named}
    if roles["roi"]:
        fields["roi"] = next(iter(roles["roi"]))
    unused = sorted({*_tops(images), *_tops(labels)} - {image, label})
    if unused:
        notes.append(f"folders that are not used: {few(unused)}")
    return Layout("a folder of images and a folder of labels", fields, {}, "", tuple(notes))


def _one_folder(root: str, paths: Sequence[str], pictures: Sequence[str]) -> Layout | None:
    """Match images and labels in one folder, distinguished by a suffix or by file type."""
    folder = _common([os.path.dirname(path) for path in pictures])
    stems = {os.path.splitext(path)[0] for path in pictures}
    for suffix in _SUFFIXES:
        pairs = [stem for stem in stems if stem.endswith(suffix) and stem[: -len(suffix)] in stems]
        if len(pairs) >= 0.4 * len(stems):
            complete = 2 * len(pairs) == len(stems)
            fields = {"images": folder, "labels": folder, "label_suffix": suffix, "only_labelled": not complete}
            return Layout(f"labels beside images, called {suffix}", fields, {}, "", ())
    shapes = [path for path in paths if path.lower().endswith(".json") and os.path.splitext(path)[0] in stems]
    if shapes and _says(root, shapes[0], ("shapes",)):
        fields = {"images": folder, "labels": folder, "only_labelled": len(shapes) < len(stems)}
        return Layout("LabelMe files beside images", fields, {}, "", ())
    return None


def _lists(root: str, paths: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Find list files of splits: train.txt, splits/val.csv, ImageSets/Segmentation/test.txt."""
    lists: dict[str, dict[str, Any]] = {}
    for path in paths:
        folder, base = os.path.split(path)
        stem, ending = os.path.splitext(base)
        beside = folder.lower() in ("", "splits", "lists", "split", os.path.join("imagesets", "segmentation"))
        if beside and ending.lower() in (".txt", ".csv") and _split_of(stem):
            lists.setdefault(_split_of(stem), {"list_file": path})
    return lists if "train" in lists else {}


def _fits(template: str, path: str) -> bool:
    return os.path.splitext(path)[0].endswith(template.removeprefix("{stem}"))


def _role(folder: str) -> str:
    """Return images, labels, roi or "", by the words of a folder's path."""
    words = [word.lower() for word in folder.split(os.sep)]
    for role, known in (("roi", _ROIS), ("labels", _LABELS), ("images", _IMAGES)):
        if any(word in known for word in words):
            return role
    ends = ("annot", "_labels", "_label", "_masks", "_mask", "_gt", "annotations", "labels_2nd")
    return "labels" if any(word.endswith(ends) or word.startswith(("labels_", "masks_")) for word in words) else ""


def _split_of(path: str) -> str:
    """Return the split that a word of a path names: train2017, trainannot and instances_val are train, train, validation."""
    for word in re.split(r"[^a-zA-Z]+", path):
        lower = re.sub(r"(annot|annots|labels?|masks?|images?)$", "", word.lower())
        if lower in _SPLITS:
            return _SPLITS[lower]
    return ""


def _tops(folders: Sequence[str] | Counter[str]) -> list[str]:
    """Return the folders that are not inside another of them."""
    return [folder for folder in folders if not any(folder != other and _below(folder, other) for other in folders)]


def _below(folder: str, top: str) -> bool:
    return top == "." or folder == top or folder.startswith(top + os.sep)


def _common(folders: Sequence[str]) -> str:
    return (os.path.commonpath(list(folders)) if folders else "") or "."


def _is_table(root: str, path: str) -> bool:
    try:
        return bool(tables.read(Path(root, path)))
    except UserError:
        return False


def _says(root: str, path: str, keys: Sequence[str]) -> bool:
    """Return whether a JSON file is an object with these keys."""
    try:
        content = json.loads(text(Path(root, path), "annotation", 2**30))
    except (UserError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in keys)
