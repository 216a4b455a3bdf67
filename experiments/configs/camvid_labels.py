"""CamVid at 72x96 (not a published protocol): a small U-Net on a fraction of the labels, from scratch or from a pretrained encoder.

All methods pretrain the same encoder (`convnet`, small) on the 367 training frames for the same number of steps.
experiments/papers/camvid_labels.py has their best settings, which experiments/papers/camvid_labels_tuning.py chooses on a held-out drive.

Segmentation trains on crops, without class weights. From scratch, with 1/16 and with all labels of one drive, the mean IoU on another
drive is 0.33 and 0.35; with median frequency weights it is 0.31 and 0.34; with these weights and whole images, 0.28 and 0.35.

Command   python -m experiments.pretrain --config=camvid_labels:spark
          python -m experiments.segment --config=camvid_labels --init=runs/camvid-labels-spark --config.data.fraction=0.0625
Cost      see experiments/results/README.md      Expected  see experiments/results/camvid_labels.jsonl (test split, 72x96)
"""

from ml_collections import ConfigDict

from aeseg.data.published import camvid_splits
from aeseg.data.transforms import HorizontalFlip, RandomResizedCrop, Resize
from aeseg.models.decoders.convnext import ConvNeXtDecoder
from aeseg.models.decoders.convolutional import ConvolutionalDecoder
from aeseg.models.decoders.light import LightDecoder
from aeseg.runs.configs import data_config, number, run_config, segmenter_config, warm_adamw
from aeseg.spec import choose, names, recipe, spec

ARGUMENTS = (
    *("unet", "reconstruction", "denoising", "spark", "fcmae", "variational", "quantised"),
    *("quantised,vq", "unet,large", "reconstruction,large", "spark,large", "fcmae,large"),
)


def get_config(argument: str = "unet") -> ConfigDict:
    """Return the config of a head (segments) or an autoencoder (pretrains); `,large`: U-Net's published widths at 352x480, for a GPU.

    `quantised,vq` has VQ-VAE's codebook.
    """
    name, _, size = argument.partition(",")
    large = choose(size or "small", small={"is": False}, vq={"is": False}, large={"is": True})["is"]
    segments = name in names("aeseg.models.heads")
    encoder = recipe("aeseg.models.encoders", "convnet", "unet" if large else "small")
    if large:
        encoder.update(norm="batch", mean=(0.45,), std=(0.25,))
    if segments:
        method = segmenter_config(recipe("aeseg.models.heads", name), encoder, 11)
    else:
        method = recipe("aeseg.methods", name, "vq" if size == "vq" else "small")
        method.encoder = encoder
        if large:
            method.update(_large(name))
    steps = number(10_000 if large else 1500 if segments else 1000)
    window = height, width = (352, 480) if large else (72, 96)
    return run_config(
        method,
        data_config(
            camvid_splits(),
            transforms=(spec(RandomResizedCrop, height=height, width=width, smallest=0.4), spec(HorizontalFlip)),
            evaluation_transforms=() if large else (spec(Resize, height=72, width=96),),
            threads=8 if large else 2,
        ),
        steps=steps,
        batch_size=16 if not segments else 8 if large else 4,
        window=window,
        optimiser=warm_adamw(2e-3, steps),
        evaluate_every=steps.get() // 2,
        save_every=steps.get() // 2,
        keep=1,
        next="" if segments else "camvid_labels:unet,large" if large else "camvid_labels",
    )


def _large(method: str) -> dict[str, object]:
    """Return the changes to a method for the large encoder: a decoder from its last stride, 16."""
    deep = {"decoder": spec(ConvolutionalDecoder, widths=(512, 256, 128, 64), norm="batch")}
    spark = {"decoder": spec(LightDecoder, width=512, strides=(2, 4, 8, 16)), "unit": 16}
    fcmae = {"decoder": spec(ConvNeXtDecoder, stride=16), "unit": 16}
    return {"reconstruction": deep, "denoising": deep, "spark": spark, "fcmae": fcmae}[method]
