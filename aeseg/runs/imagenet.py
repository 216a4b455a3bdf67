"""Common settings of pretraining on ImageNet-1k: 224x224, a batch of thousands, hundreds of epochs."""

from typing import Any

from ml_collections import ConfigDict

from aeseg.data.sources.folder import Folder
from aeseg.data.sources.tfds import dataset
from aeseg.data.transforms import HorizontalFlip, RandomResizedCrop, Resize
from aeseg.runs.configs import data_config, number, run_config
from aeseg.spec import spec

SPLITS = {"train": "train", "validation": "validation", "test": "validation"}
IMAGES = 1_281_167
"""Training images of ImageNet-1k."""


def imagenet_config(
    method: ConfigDict,
    source: str,
    optimiser: Any,
    base_rate: float,
    base_batch: int = 256,
    *,
    epochs: int,
    warmup_epochs: int,
    batch_size: int = 4096,
    smallest: float = 0.2,
    following: str = "segment",
    **fields: Any,
) -> ConfigDict:
    """Return a pretraining config; the learning rate is base_rate * batch / base_batch, and --config.epochs sets the length.

    source     "folder" reads train/ and validation/ below --config.data.root; "" reads ImageNet as `prepare` left it
    optimiser  a function of aeseg/training/optimiser.py; `fields` are its further arguments
    smallest   area of the smallest crop, as a fraction of the image
    """
    if source == "folder":
        splits = {name: spec(Folder, root="data/images", images=split, labels="") for name, split in SPLITS.items()}
    else:
        splits = {name: dataset("imagenet2012", split) for name, split in SPLITS.items()}
    passes, images, batch, rate = number(epochs), number(IMAGES), number(batch_size), number(base_rate)
    steps = passes * images // batch
    return run_config(
        method,
        data_config(
            splits,
            transforms=(spec(RandomResizedCrop, height=224, width=224, smallest=smallest), spec(HorizontalFlip)),
            evaluation_transforms=(spec(Resize, height=224, width=224),),
            cache_gib=0.0,
            on_error="skip",
            threads=16,
        ),
        steps=steps,
        batch_size=batch,
        window=(224, 224),
        dtype="bfloat16",
        optimiser=spec(optimiser, learning_rate=rate * batch / base_batch, steps=steps, warmup=steps * warmup_epochs // passes, **fields),
        log_every=100,
        evaluate_every=6_255,  # about 20 epochs of batches of 4096, 10 of SimMIM's 2048
        save_every=6_255,
        next=following,
        given={"epochs": passes, "images": images, "blr": rate},
    )
