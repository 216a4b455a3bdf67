"""Generated scenes, 64x64: pretrain any autoencoder on 4,096 images, or train any head on 128 labelled images.

Command   python -m experiments.pretrain [--config=scenes:<autoencoder>[,<encoder>][,<size>]]
          python -m experiments.segment --init=runs/pretrain [--config=scenes:<head>[,<encoder>]]
          python -m experiments.segment --config=scenes:fusion,senses     from images, depth, captions and sounds
Cost      see experiments/results/README.md      Expected  see experiments/results/scenes.jsonl
"""

from ml_collections import ConfigDict

from aeseg.data.planes import DropModalities
from aeseg.data.sources.scenes import CLASSES, Scenes
from aeseg.data.transforms import HorizontalFlip
from aeseg.runs.configs import data_config, encoder_of, method_config, number, run_config, warm_adamw
from aeseg.runs.run import has_head
from aeseg.spec import recipe, spec

ARGUMENTS = (
    *("denoising", "reconstruction", "masked", "simmim", "variational", "quantised", "maskgit", "multimodal"),
    *("variational,bernoulli", "variational,mixture", "quantised,vq"),
    *("denoising,tiny", "multimodal,senses", "unet", "linear", "fcn", "unet,vit", "fusion", "fusion,caption", "fusion,senses", "vote"),
)
PRETRAININGS = {"denoising": (1150, 6e-3), "maskgit": (2000, 2e-3)}
"""Steps and learning rate of an autoencoder, where they are not 1,500 and 2e-3.  See experiments/papers/scenes_tuning.py."""
SENSES = ("depth", "caption", "sound")
LABELLED = 128 / 4096
"""Fraction of labelled training images.  A seed draws the same images for every method."""


def get_config(argument: str = "denoising") -> ConfigDict:
    """Return the config of an autoencoder (pretrains) or a head (segments); see `method_config`.

    `fusion` reads images and depth, and drops each in training. `fusion,image`, `fusion,depth`, `fusion,caption` and `fusion,sound` read
    images and what they name, and drop nothing. `fusion,senses` reads all four, and drops each. With a second word, no image is mirrored:
    captions and sounds tell left from right.
    """
    name, _, word = argument.partition(",")
    fuses = name == "fusion" and word in ("image", *SENSES, "senses")
    method = method_config(name if fuses else argument, classes=len(CLASSES))
    if fuses:
        further = {modality.key: modality for modality in recipe("aeseg.methods", "multimodal", "senses").modalities[1:]}
        method.modalities = (method.modalities[0], *(further[key] for key in SENSES if word in (key, "senses")))
    caption, sound = (word in (sense, "senses") for sense in SENSES[1:])  # a word of another config is the name of an encoder or a size
    sizes = {"train": 4096, "validation": 256, "test": 512}
    splits = {split: spec(Scenes, split=split, records=records, caption=caption, sound=sound) for split, records in sizes.items()}
    dropped = {"fusion": SENSES[:1], "fusion,senses": SENSES}.get(argument, ())
    mirrored = () if fuses or caption or sound else (spec(HorizontalFlip),)
    drop = (spec(DropModalities, keys=("image", *dropped)),) if dropped else ()
    data = data_config(splits, transforms=(*mirrored, *drop))
    if has_head(method):
        steps, rate = number(1600), 2e-3 if "patch" in method.encoder else 4e-3
        data.fraction = LABELLED
        return run_config(
            method,
            data,
            steps=steps,
            batch_size=8,
            window=(64, 64),
            optimiser=warm_adamw(rate, steps),
            evaluate_every=400,
            save_every=400,
        )
    length, rate = PRETRAININGS.get(name, (1500, 2e-3))
    steps = number(length)
    following = "scenes:unet,vit" if encoder_of(method).target.endswith(":ViT") else "segment"
    following = {"multimodal": "scenes:fusion", "multimodal,senses": "scenes:fusion,senses"}.get(argument, following)
    return run_config(method, data, steps=steps, batch_size=16, window=(64, 64), optimiser=warm_adamw(rate, steps, b2=0.95), next=following)
