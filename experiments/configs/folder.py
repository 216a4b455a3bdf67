"""Your own images: <root>/images/* without labels to pretrain; <root>/images/* and <root>/labels/* of the same names to segment.

Command   python -m experiments.pretrain --config=folder --config.data.root=my_images
          python -m experiments.segment --config=folder:unet --config.data.root=my_images \\
              --config.data.class_table="background, leaf, stem" --init=runs/folder
Cost      as camvid_small: images are cut to `window`      Expected  that depends on your images

Nine tenths of the images train, the others validate; a test set is yours to name (--config.data.test...).
"""

from ml_collections import ConfigDict

from aeseg.data.sources.folder import Folder
from aeseg.data.transforms import HorizontalFlip, RandomResizedCrop
from aeseg.methods.segmenter import Segmenter
from aeseg.spec import follow, names, recipe, spec
from aeseg.training.optimiser import adamw

ARGUMENTS = ("denoising", "unet")


def get_config(argument: str = "denoising") -> ConfigDict:
    """A method's file name pretrains; a head's file name segments."""
    segments = argument in names("aeseg.models.heads")
    config = ConfigDict()
    config.seed = 0
    config.steps = 1000
    config.batch_size = 16
    config.microbatches = 1
    config.window = (128, 128)
    encoder = recipe("aeseg.models.encoders", "convnet")
    if segments:
        config.method = spec(Segmenter, encoder=encoder, head=recipe("aeseg.models.heads", argument), classes=2)
        config.method.head.classes = config.method.get_ref("classes")
        config.freeze = "fine-tune"
        config.class_weights = "none"
    else:
        config.method = recipe("aeseg.methods", argument)
        config.method.encoder = encoder
        config.next = "folder:unet"
    config.dtype = "float32"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.optimiser = spec(
        adamw, learning_rate=1e-3, steps=config.get_ref("steps"), warmup=config.get_ref("steps") // 20, weight_decay=0.05, clip=1.0
    )
    config.ema = 0.0
    config.data = ConfigDict()
    config.data.root = "data/folder"
    config.data.class_table = "background #000000, foreground #ffffff"
    for split, part in (("train", (0.0, 0.9)), ("validation", (0.9, 1.0)), ("test", (0.9, 1.0))):
        labels = {"class_table": "background #000000, foreground #ffffff"} if segments else {"labels": ""}
        config.data[split] = spec(Folder, root="data/folder", part=part, **labels)
        config.data[split].root = config.data.get_ref("root")
        if segments:
            config.data[split].class_table = config.data.get_ref("class_table")
    config.data.transforms = (spec(RandomResizedCrop, height=128, width=128), spec(HorizontalFlip))
    config.data.evaluation_transforms = ()
    config.data.fraction = 1.0
    config.data.cache_gib = 1.0
    config.data.on_error = "raise"
    config.data.threads = 2
    config.data.workers = 0
    config.fsdp = 1
    config.log_every = 50
    config.evaluate_every = 500
    config.save_every = 500
    config.keep = 2
    config.keep_every = 0
    config.best = "mean_iou" if segments else "loss"
    return config
