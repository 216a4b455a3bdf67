"""Generated scenes, 64x64: pretrain any autoencoder on 4,096 images, or train any head on 128 labelled images.

Command   python -m experiments.pretrain [--config=scenes:<autoencoder>[,<encoder>][,<size>]]
          python -m experiments.segment --init=runs/pretrain [--config=scenes:<head>[,<encoder>]]
Cost      see experiments/results/README.md      Expected  see experiments/results/scenes.jsonl
"""

from ml_collections import ConfigDict

from aeseg.data.planes import DropModalities
from aeseg.data.sources.scenes import CLASSES, Scenes
from aeseg.data.transforms import HorizontalFlip
from aeseg.runs.configs import data_config, encoder_of, method_config, number, run_config, warm_adamw
from aeseg.spec import spec

ARGUMENTS = (
    *("denoising", "reconstruction", "masked", "simmim", "variational", "quantised", "maskgit", "multimodal"),
    *("denoising,tiny", "multimodal,senses", "unet", "linear", "fcn", "unet,vit", "fusion", "vote"),
)
LABELLED = 128 / 4096
"""Fraction of labelled training images.  A seed draws the same images for every method."""


def get_config(argument: str = "denoising") -> ConfigDict:
    """Return the config of an autoencoder (pretrains) or a head (segments); see `method_config`."""
    method = method_config(argument, classes=len(CLASSES))
    senses = argument.endswith(",senses")  # captions and sounds would be wrong for a mirrored image
    sizes = {"train": 4096, "validation": 256, "test": 512}
    splits = {split: spec(Scenes, split=split, records=records, caption=senses, sound=senses) for split, records in sizes.items()}
    drop = (spec(DropModalities, keys=("image", "depth")),) if argument.startswith("fusion") else ()
    data = data_config(splits, transforms=() if senses else (spec(HorizontalFlip), *drop))
    steps = number(1600 if "head" in method else 2000 if argument.startswith("maskgit") else 1500)
    if "head" in method:
        data.fraction = LABELLED
        return run_config(
            method,
            data,
            steps=steps,
            batch_size=8,
            window=(64, 64),
            optimiser=warm_adamw(2e-3, steps),
            evaluate_every=400,
            save_every=400,
        )
    following = "scenes:unet,vit" if encoder_of(method).target.endswith(":ViT") else "segment"
    following = "scenes:fusion" if argument == "multimodal" else following
    return run_config(method, data, steps=steps, batch_size=16, window=(64, 64), optimiser=warm_adamw(2e-3, steps, b2=0.95), next=following)
