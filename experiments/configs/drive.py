"""DRIVE: the vessels of the retina, 565x584, inside the field of view.  18 images train, 2 validate, the official 20 test.

Command   python -m experiments.segment --config=drive
          python -m experiments.evaluate --workdir=runs/drive --split=test
Cost      see README.md, "Results"      Expected  Dice of the vessels in experiments/results/drive.jsonl
          (published: U-Net 0.8157, a three-path U-Net 0.8291; Sci Rep 2023, s41598-023-50141-0, table 2)
          `unet,reference`, with the 64 to 1024 channels of Ronneberger et al. 2015 and 25 times as many steps, wants an accelerator
"""

from ml_collections import ConfigDict

from aeseg.data.colours import PhotometricJitter
from aeseg.data.sources.folder import drive
from aeseg.data.transforms import HorizontalFlip, RandomCrop, RandomRotate, VerticalFlip
from aeseg.methods.segmenter import Segmenter
from aeseg.models.heads.unet import UNetHead
from aeseg.spec import choose, follow, names, recipe, spec
from aeseg.training.optimiser import adamw

ARGUMENTS = ("unet", "reconstruction", "denoising", "spark", "fcmae", "unet,reference")


def get_config(argument: str = "unet") -> ConfigDict:
    """`unet` segments, with `,reference` as large as the paper's; a method's file name pretrains on the same 18 images."""
    name, _, size = argument.partition(",")
    segments = name in names("aeseg.models.heads")
    sized = choose(size or "small", small={"encoder": "small", "steps": 800}, reference={"encoder": "unet", "steps": 20_000})
    config = ConfigDict()
    config.seed = 0
    config.steps = sized["steps"]
    config.batch_size = 8
    config.microbatches = 1
    config.window = (96, 96)
    encoder = recipe("aeseg.models.encoders", "convnet", sized["encoder"])
    encoder.update({"norm": "batch", "mean": (0.45,), "std": (0.25,)})  # as the small one has it
    if segments:
        config.method = spec(
            Segmenter, encoder=encoder, head=spec(UNetHead, classes=2, norm="batch"), classes=2, objective="cross_entropy_dice"
        )
        config.method.head.classes = config.method.get_ref("classes")
        config.freeze = "fine-tune"
        config.class_weights = "none"
    else:
        config.method = recipe("aeseg.methods", name)
        config.method.encoder = encoder
        config.next = "drive:unet"
    config.dtype = "float32"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.optimiser = spec(
        adamw, learning_rate=2e-3, steps=config.get_ref("steps"), warmup=config.get_ref("steps") // 20, weight_decay=0.05, clip=1.0
    )
    config.ema = 0.0
    config.data = ConfigDict()
    config.data.root = "data/drive"
    for split in ("train", "validation", "test"):
        config.data[split] = drive(split)
        config.data[split].root = config.data.get_ref("root")
    config.data.transforms = (
        spec(RandomRotate, degrees=180.0),
        spec(RandomCrop, height=96, width=96),
        spec(HorizontalFlip),
        spec(VerticalFlip),
        spec(PhotometricJitter),
    )
    config.data.evaluation_transforms = ()
    config.data.fraction = 1.0
    config.data.cache_gib = 1.0
    config.data.on_error = "raise"
    config.data.threads = 2
    config.data.workers = 0
    config.fsdp = 1
    config.log_every = 50
    config.evaluate_every = 400
    config.save_every = 400
    config.keep = 1
    config.keep_every = 0
    config.best = "mean_iou" if segments else "loss"
    return config
