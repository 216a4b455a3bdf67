"""CamVid at its own 360x480, for an accelerator: U-Net on the contracting path that a denoising autoencoder has learned.

Command   python -m experiments.pretrain --config=camvid:denoising
          python -m experiments.segment --config=camvid:unet --init=runs/camvid-denoising
Cost      not yet measured      Expected  not yet measured (test split, 11 classes, void ignored)
"""

from ml_collections import ConfigDict

from aeseg.data.colours import PhotometricJitter
from aeseg.data.sources.folder import camvid
from aeseg.data.transforms import HorizontalFlip, RandomCrop, RandomScale
from aeseg.methods.segmenter import Segmenter
from aeseg.models.decoders.convolutional import ConvolutionalDecoder
from aeseg.models.encoders.convnet import ConvNet
from aeseg.models.heads.unet import UNetHead
from aeseg.spec import follow, names, recipe, spec
from aeseg.training.optimiser import adamw

ARGUMENTS = ("denoising", "reconstruction", "unet")
TRAINING_IMAGES = 367


def get_config(argument: str = "denoising") -> ConfigDict:
    """A method's file name pretrains; `unet` segments."""
    segments = argument in names("aeseg.models.heads")
    config = ConfigDict()
    config.seed = 0
    config.epochs = 300
    config.batch_size = 12
    config.steps = config.get_ref("epochs") * TRAINING_IMAGES // config.get_ref("batch_size")
    config.microbatches = 1
    config.window = (360, 480)
    encoder = spec(ConvNet, widths=(64, 128, 256), convolutions=2, bottleneck=512, norm="batch", use_bias=False, mean=(0.4,), std=(0.25,))
    if segments:
        head = spec(UNetHead, classes=11, norm="batch", use_bias=False)
        config.method = spec(Segmenter, encoder=encoder, head=head, classes=11)
        config.method.head.classes = config.method.get_ref("classes")
        config.freeze = "fine-tune"
        config.class_weights = "median_frequency"
    else:
        config.method = recipe("aeseg.methods", argument)
        config.method.encoder = encoder
        config.method.decoder = spec(ConvolutionalDecoder, widths=(256, 128, 64), norm="batch")
        config.next = "camvid:unet"
    config.dtype = "float32"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.optimiser = spec(
        adamw, learning_rate=1e-3, steps=config.get_ref("steps"), warmup=config.get_ref("steps") // 20, weight_decay=0.05, clip=1.0
    )
    config.ema = 0.0
    config.data = ConfigDict()
    config.data.root = "data/camvid"
    for name, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        config.data[name] = camvid(split)
        config.data[name].root = config.data.get_ref("root")
    config.data.transforms = (
        spec(RandomScale, low=0.5, high=2.0),
        spec(RandomCrop, height=360, width=480),
        spec(HorizontalFlip),
        spec(PhotometricJitter),
    )
    config.data.evaluation_transforms = ()
    config.data.fraction = 1.0
    config.data.cache_gib = 1.0
    config.data.on_error = "raise"
    config.data.threads = 8
    config.data.workers = 0
    config.fsdp = 1
    config.log_every = 50
    config.evaluate_every = 1000
    config.save_every = 1000
    config.keep = 2
    config.keep_every = 0
    config.best = "mean_iou" if segments else "loss"
    return config
