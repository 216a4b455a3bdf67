"""Masked autoencoders of ImageNet (He et al. 2022, table 8): AdamW, 800 epochs, batch 4096.

Command   python -m experiments.prepare --name=imagenet2012 --manual_dir=<the archives>
          python -m experiments.pretrain --config=mae:b16 --config.fsdp=8
          --config=mae:b16,folder --config.data.root=<train/ and validation/ folders of images>: images of one's own
Cost      not yet measured (the paper: ViT-L, 42 h on 64 V100)
Expected  not yet measured (the paper: ADE20K 48.1 from ViT-B, 53.6 from ViT-L; mae_finetune)

The longest of the paper's runs are --config.epochs=1600.  Patches are standardised, as for its transfer results (table 7).  Deviation:
crops are resized by area or bilinearly, not bicubically.  Another batch: the rate is blr x batch / 256.
"""

from ml_collections import ConfigDict

from aeseg.data.sources.folder import Folder
from aeseg.data.sources.tfds import dataset
from aeseg.data.transforms import HorizontalFlip, RandomResizedCrop, Resize
from aeseg.spec import follow, recipe, spec
from aeseg.training.optimiser import adamw

ARGUMENTS = ("b16", "l16", "h14", "b16,folder")


def get_config(argument: str = "b16") -> ConfigDict:
    """The size of the method's recipe, and `,folder` for images of one's own."""
    size, _, source = argument.partition(",")
    config = ConfigDict()
    config.seed = 0
    config.epochs = 800
    config.images = 1_281_167  # of ImageNet-1k
    config.batch_size = 4096
    config.steps = config.get_ref("epochs") * config.get_ref("images") // config.get_ref("batch_size")
    config.microbatches = 1
    config.window = (224, 224)
    config.method = recipe("aeseg.methods", "masked", size)
    config.method.standardised = True
    config.method.encoder.remat = size == "h14"
    config.dtype = "bfloat16"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.blr = 1.5e-4  # of a batch of 256
    config.optimiser = spec(
        adamw,
        learning_rate=config.get_ref("blr") * config.get_ref("batch_size") / 256,
        steps=config.get_ref("steps"),
        warmup=config.get_ref("steps") * 40 // config.get_ref("epochs"),
        b1=0.9,
        b2=0.95,
        weight_decay=0.05,
    )
    config.ema = 0.0
    config.data = ConfigDict()
    config.data.root = "data/images" if source == "folder" else ""
    for name in ("train", "validation", "test"):
        split = name if name == "train" else "validation"
        if source == "folder":
            config.data[name] = spec(Folder, root="", images=split, labels="")
            config.data[name].root = config.data.get_ref("root")
        else:
            config.data[name] = dataset("imagenet2012", split)
            config.data[name].data_dir = config.data.get_ref("root")
    config.data.transforms = (spec(RandomResizedCrop, height=224, width=224, smallest=0.2), spec(HorizontalFlip))
    config.data.evaluation_transforms = (spec(Resize, height=224, width=224),)
    config.data.fraction = 1.0
    config.data.cache_gib = 0.0
    config.data.on_error = "skip"
    config.data.threads = 16
    config.data.workers = 0
    config.fsdp = 1
    config.log_every = 100
    config.evaluate_every = 6_255  # about 20 epochs of batches of 4096
    config.save_every = 6_255
    config.keep = 2
    config.keep_every = 0
    config.best = "loss"
    config.next = "mae_finetune"
    return config
