"""CamVid at 360x480, for an accelerator: U-Net with an encoder pretrained by a denoising autoencoder.

Command   python -m experiments.pretrain --config=camvid:denoising
          python -m experiments.segment --config=camvid:unet --init=runs/camvid-denoising
Cost      not yet measured      Expected  not yet measured (test split, 11 classes, void ignored)
"""

from ml_collections import ConfigDict

from aeseg.data.colours import PhotometricJitter
from aeseg.data.published import camvid_splits
from aeseg.data.transforms import HorizontalFlip, RandomCrop, RandomScale
from aeseg.models.decoders.convolutional import ConvolutionalDecoder
from aeseg.models.encoders.convnet import ConvNet
from aeseg.models.heads.unet import UNetHead
from aeseg.runs.configs import data_config, number, run_config, segmenter_config, warm_adamw
from aeseg.spec import names, recipe, spec

ARGUMENTS = ("denoising", "reconstruction", "unet")
TRAINING_IMAGES = 367


def get_config(argument: str = "denoising") -> ConfigDict:
    """Return the config of an autoencoder (pretrains), or of `unet` (segments)."""
    segments = argument in names("aeseg.models.heads")
    encoder = spec(ConvNet, convolutions=2, bottleneck=512, norm="batch", use_bias=False, mean=(0.4,), std=(0.25,))
    if segments:
        method = segmenter_config(spec(UNetHead, classes=11, norm="batch", use_bias=False), encoder, 11)
    else:
        method = recipe("aeseg.methods", argument)
        method.encoder = encoder
        method.decoder = spec(ConvolutionalDecoder, norm="batch")
    cut = (spec(RandomScale), spec(RandomCrop, height=360, width=480))
    epochs, batch = number(300), number(12)
    steps = epochs * TRAINING_IMAGES // batch
    return run_config(
        method,
        data_config(camvid_splits(), transforms=(*cut, spec(HorizontalFlip), spec(PhotometricJitter)), threads=8),
        steps=steps,
        batch_size=batch,
        window=(360, 480),
        optimiser=warm_adamw(1e-3, steps),
        class_weights="median_frequency" if segments else "none",
        evaluate_every=1000,
        save_every=1000,
        next="" if segments else "camvid:unet",
        given={"epochs": epochs},
    )
