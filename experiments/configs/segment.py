"""Segment the embedded scenes with few labels: 128 of 4,096 training images have one.

Command   python -m experiments.segment --init=runs/pretrain [--config=segment:<head>[,<encoder>]]     aeseg/models/heads, encoders/*.py
Cost      see README.md, "Results"      Expected  see experiments/results/scenes.jsonl
"""

from ml_collections import ConfigDict

from aeseg.data.sources.scenes import CLASSES, Scenes
from aeseg.data.transforms import HorizontalFlip
from aeseg.methods.segmenter import Segmenter
from aeseg.models import neck
from aeseg.spec import follow, recipe, spec
from aeseg.training.optimiser import adamw

ARGUMENTS = ("unet", "linear", "fcn", "unet,vit")


def get_config(argument: str = "unet") -> ConfigDict:
    """The head's file name, and the encoder's; for vit, whose features have one stride, a neck makes the others."""
    head, _, name = argument.partition(",")
    config = ConfigDict()
    config.seed = 0
    config.steps = 1600
    config.batch_size = 8
    config.microbatches = 1
    config.window = (64, 64)
    encoder = recipe("aeseg.models.encoders", name or "convnet", "small")
    config.method = spec(Segmenter, encoder=encoder, head=recipe("aeseg.models.heads", head, "small"), classes=len(CLASSES))
    config.method.head.classes = config.method.get_ref("classes")
    if name == "vit":
        config.method.neck = (neck.unet(encoder.patch, encoder.width),)
    config.dtype = "float32"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.optimiser = spec(
        adamw, learning_rate=2e-3, steps=config.get_ref("steps"), warmup=config.get_ref("steps") // 20, weight_decay=0.05, clip=1.0
    )
    config.ema = 0.0
    config.freeze = "fine-tune"
    config.class_weights = "none"
    config.data = ConfigDict()
    config.data.train = spec(Scenes, split="train", records=4096)
    config.data.validation = spec(Scenes, split="validation", records=256)
    config.data.test = spec(Scenes, split="test", records=512)
    config.data.transforms = (spec(HorizontalFlip),)
    config.data.evaluation_transforms = ()
    config.data.fraction = 128 / 4096  # drawn by the seed; the same images for every method
    config.data.cache_gib = 1.0
    config.data.on_error = "raise"
    config.data.threads = 2
    config.data.workers = 0
    config.fsdp = 1
    config.log_every = 50
    config.evaluate_every = 400
    config.save_every = 400
    config.keep = 2
    config.keep_every = 0
    config.best = "mean_iou"
    return config
