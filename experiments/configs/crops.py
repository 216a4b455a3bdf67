"""Nuclei (fluorescence, 256x256) or cracks in pavements (RGB, 400x400): crops of 64x64 at the images' own scale. Not published protocols.

Nuclei: the 334 images of 256x256 of the Data Science Bowl 2018, stage 1, one folder per image with a mask per nucleus; 234 train, 50
validate, 50 test. The ids do not name slides, so tiles of one slide may be in different splits; `inspect` finds no two images that look
alike. Cracks: train.txt, val.txt, test.txt.

Command   python -m experiments.pretrain --config=crops:spark,nuclei --config.data.root=nuclei
          python -m experiments.segment --config=crops:unet,nuclei --init=runs/crops-spark-nuclei --config.data.fraction=0.017
Cost      one core (Xeon, avx512f): 1.5 minutes for 300 steps with labels, 4 for 1,500 steps of SparK
Expected  nuclei, 4 labels, 2 seeds, validation mIoU: 83 to 84 from scratch, 84 after SparK (the table nuclei_labels_tuning)
"""

from typing import Any

from ml_collections import ConfigDict

from aeseg.data.sources.folder import MASK_CLASSES, Folder
from aeseg.data.transforms import HorizontalFlip, RandomCrop, VerticalFlip
from aeseg.runs.configs import data_config, method_config, number, run_config, warm_adamw
from aeseg.spec import spec
from aeseg.types import UserError

METHODS = ("denoising", "fcmae", "quantised", "reconstruction", "spark", "variational")
"""Methods that pretrain `convnet`."""
SETS = ("nuclei", "cracks")
ARGUMENTS = tuple(f"{name},{data}" for data in SETS for name in ("unet", *METHODS))
SIDE = 64
STATISTICS = {"nuclei": {"mean": (0.052,), "std": (0.071,)}, "cracks": {}}
"""Mean and std of the training images; for cracks, the encoder's defaults are close."""
CONTENT = {"nuclei": 0.1, "cracks": 0.0}
"""Least `content` with which a unit counts in the loss of SparK and FCMAE.  In the training images of nuclei (units of 8 pixels), 4 % of
the units of background and 97 % of the units with a nucleus reach 0.1."""


def get_config(argument: str = "unet,nuclei") -> ConfigDict:
    """Return the config of `unet` (segments) or a method (pretrains), on nuclei or cracks."""
    if argument not in ARGUMENTS:
        raise UserError(f"crops has {', '.join(ARGUMENTS)}; got {argument!r}. Name one of these.")
    name, data = argument.split(",")
    segments = name == "unet"
    method = method_config("unet" if segments else f"{name},convnet", classes=2)
    method.encoder.update(STATISTICS[data])
    if "content" in method:
        method.content = CONTENT[data]
    crop = spec(RandomCrop, height=SIDE, width=SIDE)
    steps = number(300 if segments else 1500)
    return run_config(
        method,
        data_config(_splits(data, segments), transforms=(crop, spec(HorizontalFlip), spec(VerticalFlip))),
        steps=steps,
        batch_size=8,
        window=(SIDE, SIDE),
        enlarge=segments,
        optimiser=warm_adamw(4e-3 if segments else 2e-3, steps),
        evaluate_every=steps,
        save_every=steps,
        keep=1,
        next="" if segments else f"crops:unet,{data}",
    )


def _splits(data: str, segments: bool) -> dict[str, ConfigDict]:
    splits: dict[str, ConfigDict] = {}
    for split, file in {"train": "train", "validation": "val", "test": "test"}.items():
        if data == "nuclei":
            names = {"images": ".", "labels": ".", "image_name": "{stem}/images/{stem}", "label_name": "{stem}/masks/*"}
            fields: dict[str, Any] = {**names, "split": split, "class_table": MASK_CLASSES}
        else:
            fields = {"list_file": f"{file}.txt", "binary_threshold": 128, "class_table": "pavement #000000, crack #ffffff"}
        splits[split] = spec(Folder, root=f"data/{data}", images_only=not segments, **fields)
    return splits
