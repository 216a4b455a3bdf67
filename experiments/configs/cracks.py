"""Cracks in pavements from RGB, thermal and depth images at 64x64: what each modality adds, and what a network loses without it.

332 pavements; 180 train, 40 validate, 112 test (train.txt, val.txt, test.txt); 59 are nearly black in RGB. Thermal and depth are false
colours. Not a published protocol: its authors score 400x400 images on another split. Thermal does not show the labelled cracks in place:
near crack outlines, edges are stronger than near the outlines of another image by 0.89 standard deviations in RGB, 0.61 in depth and -0.04
in thermal images (`inspect`, 100 training images).

Command   python -m experiments.segment --config=cracks:stacked          RGB, thermal and depth as channels of one U-Net
          python -m experiments.segment --config=cracks:vote             one U-Net per modality, with averaged probabilities
          python -m experiments.pretrain --config=cracks:multimodal      MultiMAE on the training images
          python -m experiments.segment --config=cracks:fusion --init=runs/cracks-multimodal
          python -m experiments.evaluate --workdir=runs/cracks-fusion --lighting     every subset, on lit and on dark images
Cost      see experiments/results/README.md      Expected  see experiments/results/cracks.jsonl (test split, 64x64)
"""

from typing import Any

from ml_collections import ConfigDict

from aeseg.data.planes import DropModalities, Stack
from aeseg.data.sources.folder import Folder
from aeseg.data.transforms import HorizontalFlip, RandomResizedCrop, Resize, VerticalFlip
from aeseg.methods.fusion import Fusion
from aeseg.methods.segmenter import Segmenter
from aeseg.methods.vote import Vote
from aeseg.models.modalities.image import Image
from aeseg.models.modalities.planes import Planes
from aeseg.runs.configs import data_config, number, run_config, segmenter_config, warm_adamw
from aeseg.spec import recipe, spec
from aeseg.types import UserError

ARGUMENTS = ("unet", "unet,vit", "stacked", "stacked,thermal", "stacked,depth", "vote", "fusion", "multimodal")
SIDE, FURTHER = 64, ("thermal", "depth")
FALSE_COLOURS = {"channels": 3, "mean": 0.45, "std": 0.25}
SPLITS = {"train": "train", "validation": "val", "test": "test"}


def get_config(argument: str = "stacked") -> ConfigDict:
    """Return the config of a segmenter, or of `multimodal`, which pretrains.

    `unet[,vit]` reads RGB. `stacked[,thermal]` reads RGB and the named planes (default: all) as channels of one U-Net. `vote` has a U-Net
    for each modality. `fusion` reads tokens of all modalities. Training drops each modality of several with probability 0.25.
    """
    name, *words = argument.split(",")
    further = {"unet": (), "stacked": tuple(words) or FURTHER}.get(name, FURTHER)
    if argument not in ARGUMENTS:
        raise UserError(f"cracks has {', '.join(ARGUMENTS)}; got {argument!r}. Name one of these.")
    method, stacks = _method(name, words), tuple(spec(Stack, key=key, high=255.0, channels=3) for key in further if name == "stacked")
    drop = (spec(DropModalities, keys=("image", *further)),) if further and name not in ("vote", "multimodal") else ()
    labels: dict[str, Any] = {"binary_threshold": 128, "class_table": "pavement #000000, crack #ffffff"}
    pretrains, by_patch = name == "multimodal", "patch" in method.encoder
    splits = {
        split: spec(Folder, root="data/cracks", list_file=f"{file}.txt", aligned=further, images_only=pretrains, **labels)
        for split, file in SPLITS.items()
    }
    crop = spec(RandomResizedCrop, height=SIDE, width=SIDE, smallest=0.4)
    steps = number(800 if pretrains else 400)
    return run_config(
        method,
        data_config(
            splits,
            transforms=(crop, spec(HorizontalFlip), spec(VerticalFlip), *drop, *stacks),
            evaluation_transforms=(spec(Resize, height=SIDE, width=SIDE), *stacks),
        ),
        steps=steps,
        batch_size=16,
        window=(SIDE, SIDE),
        optimiser=warm_adamw(1e-3 if by_patch else 2e-3, steps),
        evaluate_every=steps.get() // 2,
        save_every=steps.get() // 2,
        keep=1,
        next="cracks:fusion" if pretrains else "",
    )


def _method(name: str, words: list[str]) -> ConfigDict:
    encoder = recipe("aeseg.models.encoders", "vit" if name in ("fusion", "multimodal") or "vit" in words else "convnet")
    image = spec(Image, patch=encoder.patch, mean=encoder.mean, std=encoder.std) if "patch" in encoder else spec(Image)
    if name == "vote":
        planes = tuple(spec(Planes, key=key, channels=3) for key in FURTHER)
    else:
        planes = tuple(spec(Planes, key=key, patch=encoder.get("patch", 16), **FALSE_COLOURS) for key in FURTHER)
    if name == "multimodal":
        method = recipe("aeseg.methods", "multimodal")
        method.update(modalities=(image, *planes), visible=32)  # a sixth of 3 x 64 tokens, as in the paper
        return method
    kind = {"vote": Vote, "fusion": Fusion}.get(name, Segmenter)
    fields = {"modalities": (image, *planes)} if kind is not Segmenter else {}
    head = recipe("aeseg.models.heads", "unet")
    return segmenter_config(head, encoder, 2, kind, objective="cross_entropy_dice", **fields)
