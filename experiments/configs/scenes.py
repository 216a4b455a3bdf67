"""Generated scenes, 64x64: pretrain any autoencoder on 4,096 images, or train any head on 128 labelled images.

Command   python -m experiments.pretrain [--config=scenes:<autoencoder>[,<encoder>][,<size>]]
          python -m experiments.segment --init=runs/pretrain [--config=scenes:<head>[,<encoder>]]
          python -m experiments.segment --config=scenes:fusion,senses     from images, depth, captions and sounds
          python -m experiments.segment --config=scenes:stacked           depth as a channel of the image (scenes:vote: two networks)
          python -m experiments.pretrain --config=scenes:multimodal,label  the label maps of all scenes, too
Cost      see experiments/results/README.md      Expected  see experiments/results/scenes.jsonl
"""

from collections.abc import Collection

from ml_collections import ConfigDict

from aeseg.data.planes import DropModalities, Stack
from aeseg.data.sources.scenes import CLASSES, Scenes
from aeseg.data.transforms import HorizontalFlip
from aeseg.runs import own_modalities
from aeseg.runs.configs import data_config, encoder_of, method_config, number, run_config, warm_adamw
from aeseg.runs.data import split_config
from aeseg.runs.run import has_head
from aeseg.spec import plain, recipe, spec
from aeseg.types import UserError

ARGUMENTS = (
    *("denoising", "reconstruction", "masked", "simmim", "variational", "quantised", "maskgit", "multimodal"),
    *("variational,bernoulli", "variational,mixture", "quantised,vq", "denoising,tiny", "multimodal,senses", "multimodal,label"),
    *("unet", "linear", "fcn", "unet,vit", "fusion", "fusion,caption", "fusion,senses", "vote", "stacked"),
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

    `vote` has a U-Net for images and one for depth. `stacked[,encoder]` is a U-Net whose images have depth as a further channel; training
    drops each with probability 0.25. `multimodal,label` also reads and reconstructs label maps: those of all 4,096 scenes, as pseudo-labels
    without errors, so a comparison with a network of 128 labels is unfair.
    """
    name, _, word = argument.partition(",")
    if name in ("vote", "stacked") and word in (*SENSES[1:], "senses"):
        raise UserError(f"{name} reads images and depth, which are aligned; got {argument!r}. Write {name}, or fusion,{word}.")
    fuses, stacks = name == "fusion" and word in ("image", *SENSES, "senses"), name == "stacked"
    labels = argument == "multimodal,label"
    described = name if fuses or labels else f"unet{argument.removeprefix('stacked')}" if stacks else argument
    method = method_config(described, classes=len(CLASSES))
    if fuses:
        further = {modality.key: modality for modality in recipe("aeseg.methods", "multimodal", "senses").modalities[1:]}
        method.modalities = (method.modalities[0], *(further[key] for key in SENSES if word in (key, "senses")))
    if labels:
        method.modalities = (*method.modalities, own_modalities.label_maps(len(CLASSES), method.encoder.patch))
        method.visible = 32  # a sixth of 3 x 64 tokens
    caption, sound = (word in (sense, "senses") for sense in SENSES[1:])  # a word of another config is the name of an encoder or a size
    sizes = {"train": 4096, "validation": 256, "test": 512}
    splits = {split: spec(Scenes, split=split, records=records, caption=caption, sound=sound) for split, records in sizes.items()}
    dropped = SENSES[:1] if stacks else {"fusion": SENSES[:1], "fusion,senses": SENSES}.get(argument, ())
    mirrored = () if fuses or caption or sound else (spec(HorizontalFlip),)
    drop = (spec(DropModalities, keys=("image", *dropped)),) if dropped else ()
    stack = (spec(Stack),) if stacks else ()
    if stacks:
        own_modalities.one_for_all_channels(method.encoder)
    data = data_config(splits, transforms=(*mirrored, *drop, *stack), evaluation_transforms=stack)
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
    fused = {"multimodal": "scenes:fusion", "multimodal,senses": "scenes:fusion,senses", "multimodal,label": "scenes:fusion"}
    following = fused.get(argument, following)
    return run_config(method, data, steps=steps, batch_size=16, window=(64, 64), optimiser=warm_adamw(rate, steps, b2=0.95), next=following)


def complete(config: ConfigDict, overrides: Collection[str]) -> None:
    """Refuse captions and sounds that the command line adds to the data of a network that does not read them."""
    keys = [modality.get("key", "image") for modality in config.method.get("modalities", ())]
    given = split_config(plain(config.data), "train")
    unread = [key for key in SENSES[1:] if given.get(key) and key not in keys]
    own_modalities.check_read(config, unread, {key: f"--config.data.source.{key}" for key in unread}, "scenes:fusion,senses")
