"""CamVid at 72x96 (not a published protocol): a small U-Net on shares of the labels, from scratch or from any method's encoder.

All methods pretrain the same encoder (`convnet`, small) on the 367 training frames for the same number of steps.  What each is best
pretrained with was picked on a drive that was held out (experiments/papers/camvid_labels_tuning.py) and stands in
experiments/papers/camvid_labels.py.

Segmentation sees crops and weighs all classes alike.  With 1/16 and with all of the labels of one drive, a network from scratch has on
another drive a mean IoU of 0.33 and 0.35; with the classes weighed by median frequency 0.31 and 0.34; with these weights and whole
images 0.28 and 0.35.

Command   python -m experiments.pretrain --config=camvid_labels:spark
          python -m experiments.segment --config=camvid_labels --init=runs/camvid-labels-spark --config.data.fraction=0.0625
Cost      see README.md, "Results"      Expected  see experiments/results/camvid_labels.jsonl (test split, 72x96)
"""

from ml_collections import ConfigDict

from aeseg.data.sources.folder import camvid
from aeseg.data.transforms import HorizontalFlip, RandomResizedCrop, Resize
from aeseg.methods.segmenter import Segmenter
from aeseg.models.decoders.convnext import ConvNeXtDecoder
from aeseg.models.decoders.convolutional import ConvolutionalDecoder
from aeseg.models.decoders.light import LightDecoder
from aeseg.spec import choose, follow, names, recipe, spec
from aeseg.training.optimiser import adamw

ARGUMENTS = ("unet", "reconstruction", "denoising", "spark", "fcmae", "unet,large", "reconstruction,large", "spark,large", "fcmae,large")


def get_config(argument: str = "unet") -> ConfigDict:
    """A head's file name segments, a method's pretrains; after a comma `large`: U-Net's own widths, 352x480, for an accelerator."""
    name, _, size = argument.partition(",")
    large = choose(size or "small", small={"is": False}, large={"is": True})["is"]
    segments = name in names("aeseg.models.heads")
    encoder = recipe("aeseg.models.encoders", "convnet", "unet" if large else "small")
    if large:
        encoder.update(norm="batch", mean=(0.45,), std=(0.25,))
    config = ConfigDict()
    config.seed = 0
    config.steps = 10_000 if large else 1500 if segments else 1000
    config.batch_size = 16 if not segments else 8 if large else 4
    config.microbatches = 1
    config.window = (352, 480) if large else (72, 96)
    if segments:
        config.method = spec(Segmenter, encoder=encoder, head=recipe("aeseg.models.heads", name), classes=11)
        config.method.head.classes = config.method.get_ref("classes")
        config.freeze = "fine-tune"
        config.class_weights = "none"
    else:
        config.method = recipe("aeseg.methods", name)
        config.method.encoder = encoder
        if large:
            config.method.update(_large(name))
        config.next = "camvid_labels:unet,large" if large else "camvid_labels"
    config.dtype = "float32"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.optimiser = spec(
        adamw, learning_rate=2e-3, steps=config.get_ref("steps"), warmup=config.get_ref("steps") // 20, weight_decay=0.05, clip=1.0
    )
    config.ema = 0.0
    config.data = ConfigDict()
    config.data.root = "data/camvid"
    for name, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        config.data[name] = camvid(split)
        config.data[name].root = config.data.get_ref("root")
    height, width = config.window
    config.data.transforms = (spec(RandomResizedCrop, height=height, width=width, smallest=0.4), spec(HorizontalFlip))
    config.data.evaluation_transforms = () if large else (spec(Resize, height=72, width=96),)
    config.data.fraction = 1.0
    config.data.cache_gib = 1.0
    config.data.on_error = "raise"
    config.data.threads = 8 if large else 2
    config.data.workers = 0
    config.fsdp = 1
    config.log_every = 50
    config.evaluate_every = config.steps // 2
    config.save_every = config.steps // 2
    config.keep = 1
    config.keep_every = 0
    config.best = "mean_iou" if segments else "loss"
    return config


def _large(method: str) -> dict[str, object]:
    """What a method's recipe has otherwise where the encoder is large: a decoder from its last stride, 16."""
    deep = {"decoder": spec(ConvolutionalDecoder, widths=(512, 256, 128, 64), norm="batch")}
    spark = {"decoder": spec(LightDecoder, width=512, strides=(2, 4, 8, 16)), "unit": 16}
    fcmae = {"decoder": spec(ConvNeXtDecoder, stride=16), "unit": 16}
    return {"reconstruction": deep, "denoising": deep, "spark": spark, "fcmae": fcmae}[method]
