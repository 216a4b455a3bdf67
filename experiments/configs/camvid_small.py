"""CamVid at 96x128: what a laptop's CPU can compare.  Not a published protocol; its numbers stand in tables of their own.

Command   python -m experiments.pretrain --config=camvid_small:denoising          the 367 training frames, no labels
          python -m experiments.segment --config=camvid_small:unet --init=runs/camvid-small-denoising
          --config.data.fraction=0.1 keeps a tenth of the labels; --config.data.root is where the data are
Cost      see README.md, "Results"      Expected  see experiments/results/camvid_small.jsonl (test split, 96x128)
"""

from ml_collections import ConfigDict

from aeseg.data.sources.folder import camvid
from aeseg.data.transforms import HorizontalFlip, RandomResizedCrop, Resize
from aeseg.methods.segmenter import Segmenter
from aeseg.models import neck
from aeseg.spec import follow, names, recipe, spec
from aeseg.training.optimiser import adamw

ARGUMENTS = ("denoising", "reconstruction", "masked", "simmim", "fcmae", "spark", "unet", "unet,vit", "unet,convnextv2", "upernet,vit")
ENCODERS = {"masked": "vit", "simmim": "vit", "fcmae": "convnextv2"}
"""Methods whose encoder is not `convnet`."""


def get_config(argument: str = "denoising") -> ConfigDict:
    """A method's file name pretrains; a head's file name, and after a comma that of the encoder it reads, segments.

    A vit has patches of 8 pixels, which a neck makes the strides 1, 2, 4 and 8 of; `--init` brings its own size of it.
    """
    name, _, kind = argument.partition(",")
    segments = name in names("aeseg.models.heads")
    kind = kind or ENCODERS.get(name, "convnet")
    config = ConfigDict()
    config.seed = 0
    config.steps = 600
    config.batch_size = 8 if segments else 16
    config.microbatches = 1
    config.window = (96, 128)
    if segments:
        encoder = recipe("aeseg.models.encoders", kind)
        config.method = spec(Segmenter, encoder=encoder, head=recipe("aeseg.models.heads", name), classes=11)
        if kind == "vit":
            config.method.neck = (neck.unet(encoder.patch, encoder.width),)
        config.method.head.classes = config.method.get_ref("classes")
        config.freeze = "fine-tune"
        config.class_weights = "none"
    else:
        config.method = recipe("aeseg.methods", name)
        config.next = "camvid_small:unet" if kind == "convnet" else f"camvid_small:unet,{kind}"
    config.dtype = "float32"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.optimiser = spec(
        adamw,
        learning_rate=2e-3 if kind == "convnet" else 1e-3,
        steps=config.get_ref("steps"),
        warmup=config.get_ref("steps") // 20,
        weight_decay=0.05,
        clip=1.0,
    )
    config.ema = 0.0
    config.data = ConfigDict()
    config.data.root = "data/camvid"
    for name, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        config.data[name] = camvid(split)
        config.data[name].root = config.data.get_ref("root")
    config.data.transforms = (spec(RandomResizedCrop, height=96, width=128, smallest=0.4), spec(HorizontalFlip))
    config.data.evaluation_transforms = (spec(Resize, height=96, width=128),)
    config.data.fraction = 1.0
    config.data.cache_gib = 1.0
    config.data.on_error = "raise"
    config.data.threads = 2
    config.data.workers = 0
    config.fsdp = 1
    config.log_every = 50
    config.evaluate_every = 300
    config.save_every = 300
    config.keep = 1
    config.keep_every = 0
    config.best = "mean_iou" if segments else "loss"
    return config
