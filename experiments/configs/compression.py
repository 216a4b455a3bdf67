"""A scale hyperprior for `compress`: image compression learned from a folder of images, or from CamVid.

Command   python -m experiments.pretrain --config=compression --config.data.root=my_images
          python -m experiments.pretrain --config=compression:camvid --config.method.lmbda=0.0016
          python -m experiments.compress --init=runs/compression-camvid --input=photos --output=compressed
Cost      17 minutes of one core (camvid; Xeon, avx512f)
Expected  CamVid, 40 test images, lambda 0.0016: 25.7 dB with 0.22 bits per pixel; files 9 % smaller than JPEG's at equal PSNR

--config.method.lmbda sets the rate: a larger one gives better images and larger files.  `reference` has the channels of the paper and its
number of steps, and needs an accelerator.
"""

import os
from collections.abc import Collection

from ml_collections import ConfigDict

from aeseg.data.published import camvid_splits
from aeseg.data.sources.folder import Folder
from aeseg.data.transforms import HorizontalFlip, RandomCrop
from aeseg.runs import own_data
from aeseg.runs.configs import data_config, number, run_config, warm_adamw
from aeseg.runs.data import SPLITS
from aeseg.spec import choose, recipe, spec
from aeseg.types import UserError

ARGUMENTS = ("folder", "camvid", "folder,reference")


def get_config(argument: str = "folder") -> ConfigDict:
    """Return the config of `folder` (your images; `,reference` as in the paper) or `camvid`."""
    name, _, size = argument.partition(",")
    if argument not in ARGUMENTS:
        raise UserError(f"compression has {', '.join(ARGUMENTS)}; got {argument!r}. Name one of these.")
    sized = choose(
        size or "small",
        small={"steps": 3000, "learning_rate": 1e-3, "side": 128},
        reference={"steps": 1_000_000, "learning_rate": 1e-4, "side": 256},
    )
    folder = {split: spec(Folder, root="data/folder", split=split, images_only=True) for split in SPLITS}
    steps, side = number(sized["steps"]), sized["side"]
    return run_config(
        recipe("aeseg.methods", "hyperprior", size or "small"),
        data_config(
            camvid_splits() if name == "camvid" else folder,
            transforms=(spec(RandomCrop, height=side, width=side), spec(HorizontalFlip)),
        ),
        steps=steps,
        batch_size=8,
        window=(side, side),
        optimiser=warm_adamw(sized["learning_rate"], steps, weight_decay=0.0),
        evaluate_every=1000,
        save_every=500,
        keep=1,
        next="compress --input=photos --output=compressed",
    )


def complete(config: ConfigDict, overrides: Collection[str]) -> None:
    """Let channels, mean and std follow the images, once the command line has said where they are."""
    if os.path.isdir(config.data.source.get("root", "")):
        own_data.follow_images(config, overrides)
