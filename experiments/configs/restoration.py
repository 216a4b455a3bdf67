"""Restoration: a residual U-Net that undoes noise, blur, holes or shrinking; your own images or CamVid's 367 training frames.

Command   python -m experiments.pretrain --config=restoration:denoise --config.data.root=my_images
          python -m experiments.restore --init=runs/restoration-denoise --task=denoise --input=photos --output=restored
          denoise, deblur, inpaint, superresolve; with ",camvid" on CamVid (--config.data.root=data/camvid)
Cost      5 minutes of one core (Xeon, avx512f)
Expected  CamVid, 60 test images: noise of sigma 25: 30.8 dB (non-local means 26.1); shrunk by 2: 29.2 dB (bicubic 27.3)
          CamVid, 233 test images: blur of sigma 1.6: 28.4 dB (Wiener filter 26.7); holes of 8 pixels: 27.9 dB (Navier-Stokes 27.9)

The noise is --config.method.noise[0]: --config.method.noise[0].sigma=0.05 for cleaner photographs.  The network subtracts the noise
that it predicts (DnCNN, Zhang et al. 2017); its last convolution starts at zero, so at first it returns its input.  Crops keep the
images' own scale.  No norm: a restored value depends on its surroundings, not on the statistics of a batch.
"""

import os
from collections.abc import Collection

from ml_collections import ConfigDict

from aeseg import noises
from aeseg.data.published import camvid_splits
from aeseg.data.sources.folder import Folder
from aeseg.data.transforms import HorizontalFlip, RandomCrop
from aeseg.methods.denoising import Denoising
from aeseg.models.decoders.unet import UNetDecoder
from aeseg.models.encoders.convnet import ConvNet
from aeseg.runs import own_data
from aeseg.runs.configs import data_config, number, run_config, warm_adamw
from aeseg.runs.data import SPLITS
from aeseg.spec import spec
from aeseg.types import UserError

HOLE = -1.0
"""Value of missing pixels, which no image has: the network sees where the holes are."""

NOISES = {
    "denoise": (spec(noises.Gaussian, sigma=25 / 255), spec(noises.Rounded)),
    "deblur": (spec(noises.Blur, sigma=1.6), spec(noises.Gaussian, sigma=2 / 255), spec(noises.Rounded)),
    "inpaint": (spec(noises.Squares, size=8, share=0.25, fill=HOLE),),
    "superresolve": (spec(noises.Downsampled, factor=2),),
}
"""Degradation that each task undoes."""

ARGUMENTS = (*NOISES, "denoise,camvid")


def get_config(argument: str = "denoise") -> ConfigDict:
    """Return the config of a task, on your own images or, with ",camvid", on CamVid's."""
    task, _, data = argument.partition(",")
    if task not in NOISES or data not in ("", "camvid"):
        raise UserError(f"Expected one of {', '.join(NOISES)}, alone or with ',camvid'; got {argument!r}. Write restoration:denoise.")
    method = spec(
        Denoising,
        encoder=spec(ConvNet, widths=(16, 32, 64), convolutions=2, bottleneck=128, mean=(0.45,), std=(0.25,)),
        decoder=spec(UNetDecoder, convolutions=1, initialiser="zeros"),
        noise=NOISES[task],
        objective="squared_error",
        output="linear",
        predicts="noise",
        visible_weight=0.05 if task == "inpaint" else 1.0,  # nothing changes outside the holes
    )
    own = {split: spec(Folder, root="data/folder", split=split, images_only=True) for split in SPLITS}
    steps = number(5000)
    return run_config(
        method,
        data_config(camvid_splits() if data else own, transforms=(spec(RandomCrop, height=64, width=64), spec(HorizontalFlip))),
        steps=steps,
        batch_size=4,
        window=(64, 64),
        enlarge=True,
        # At 6e-3 the network learns nothing from the small residuals of other tasks.
        optimiser=warm_adamw(6e-3 if task == "denoise" else 3e-3, steps, weight_decay=0.0),
        next=f"restore --task={task} --input=photos --output=restored",
    )


def complete(config: ConfigDict, overrides: Collection[str]) -> None:
    """Let channels, mean and std follow the images, once the command line has said where they are."""
    if os.path.isdir(config.data.source.get("root", "")):
        own_data.follow_images(config, overrides)
