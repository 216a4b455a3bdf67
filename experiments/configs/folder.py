"""Your own images: <root>/images/* to pretrain; also <root>/labels/* with the same names to segment.

Command   python -m experiments.pretrain --config=folder --config.data.root=my_images
          python -m experiments.segment --config=folder:unet --config.data.root=my_images \\
              --config.data.class_table="background, leaf, stem" --init=runs/folder
Cost      as camvid_small, for crops of `window`      Expected  depends on your images

          python -m experiments.pretrain --config=folder:multimodal --config.data.root=my_images --config.data.aligned="('thermal',)"
          python -m experiments.segment --config=folder:fusion --config.data.root=my_images --config.data.aligned="('thermal',)" \\
              --init=runs/folder-multimodal
          python -m experiments.segment --config=folder:stacked,resnet --config.data.root=my_images --config.data.aligned="('thermal',)"

The three splits are disjoint: 70 % of the images train, 15 % validate, 15 % test. Numbered sequences and names with one prefix stay in one
split. Images are cropped and scored at their own scale. `inspect` describes the images; --data=<description> replaces the flags above.
"""

from collections.abc import Collection

from ml_collections import ConfigDict

from aeseg.data.planes import DropModalities
from aeseg.data.sources.folder import MASK_CLASSES, Folder
from aeseg.data.transforms import HorizontalFlip, RandomCrop, RandomScale
from aeseg.runs import own_data
from aeseg.runs.configs import data_config, encoder_of, file_of, method_config, number, run_config, warm_adamw
from aeseg.runs.data import SPLITS
from aeseg.runs.run import has_head
from aeseg.spec import recipe, resolve, spec

ARGUMENTS = ("denoising", "unet", "masked", "upernet,vit", "fcmae", "multimodal", "fusion", "vote", "stacked")


def get_config(argument: str = "denoising") -> ConfigDict:
    """Return the config of an autoencoder (pretrains) or a head (segments); see `method_config`.

    `stacked[,encoder]` is a U-Net whose images have the planes in `aligned` as further channels; training drops each modality with
    probability 0.25.
    """
    stacks = argument.split(",")[0] == "stacked"
    described = f"unet{argument.removeprefix('stacked')}" if stacks else argument
    method = method_config(described, classes=2, encoder=recipe("aeseg.models.encoders", "convnet"))
    segments, encoder = has_head(method), file_of(encoder_of(method))
    labels = {"class_table": MASK_CLASSES, "images_only": not segments}
    splits = {split: spec(Folder, root="data/folder", split=split, **labels) for split in SPLITS}
    crops = (spec(RandomScale, low=0.8, high=1.25), spec(RandomCrop, height=128, width=128))  # at the images' own scale
    parts = (encoder_of(method), *((method.head,) if segments else ()))
    larger = not any(getattr(resolve(part.target), "one_size", False) for part in parts)
    drop = (spec(DropModalities, keys=("image",)),) if stacks else ()  # own_modalities adds the planes of the reader's folder
    following = "folder:fusion" if argument == "multimodal" else "folder:unet" if encoder == "convnet" else f"folder:unet,{encoder}"
    steps = number(1000)
    return run_config(
        method,
        data_config(splits, transforms=(*crops, spec(HorizontalFlip), *drop)),
        steps=steps,
        batch_size=16,
        window=(128, 128),
        enlarge=segments and larger,
        optimiser=warm_adamw(4e-3 if segments and encoder == "convnet" else 1e-3, steps),
        next="" if segments else following,
    )


def complete(config: ConfigDict, overrides: Collection[str]) -> None:
    """Set classes, channels, mean and std from the images, if the command line names their folder."""
    own_data.complete(config, overrides)
