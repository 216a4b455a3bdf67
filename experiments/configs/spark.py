"""SparK of ImageNet (Tian et al. 2023, section 4): LAMB, 1600 epochs, batch 4096, units of 32 pixels, ratio .6.

Command   python -m experiments.prepare --name=imagenet2012 --manual_dir=<the archives>
          python -m experiments.pretrain --config=spark:resnet50 --config.fsdp=8
          --config=spark:resnet50,folder --config.data.root=<train/ and validation/ folders of images>: images of one's own
Cost      not yet measured
Expected  not yet measured (the paper: ImageNet accuracy 80.6 from ResNet-50 after fine-tuning; no segmentation)

Rate, betas and weight decay are those of the authors' code (pretrain/utils/arg_util.py, lr_control.py; b2 is .95 for ResNet, .999 for
ConvNeXt).  Deviations: the warm-up starts at 0, not .005 of the peak; crops are resized by area or bilinearly, not bicubically.
"""

from ml_collections import ConfigDict

from aeseg.data.sources.folder import Folder
from aeseg.data.sources.tfds import dataset
from aeseg.data.transforms import HorizontalFlip, RandomResizedCrop, Resize
from aeseg.spec import follow, recipe, spec
from aeseg.training.optimiser import lamb

ARGUMENTS = ("resnet50", "resnet101", "v1_small", "v1_base", "resnet50,folder")


def get_config(argument: str = "resnet50") -> ConfigDict:
    """The size of the method's recipe, and `,folder` for images of one's own."""
    size, _, source = argument.partition(",")
    config = ConfigDict()
    config.seed = 0
    config.epochs = 1600
    config.images = 1_281_167  # of ImageNet-1k
    config.batch_size = 4096
    config.steps = config.get_ref("epochs") * config.get_ref("images") // config.get_ref("batch_size")
    config.microbatches = 1
    config.window = (224, 224)
    config.method = recipe("aeseg.methods", "spark", size)
    config.dtype = "bfloat16"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.blr = 2e-4  # of a batch of 256
    config.optimiser = spec(
        lamb,
        learning_rate=config.get_ref("blr") * config.get_ref("batch_size") / 256,
        steps=config.get_ref("steps"),
        warmup=config.get_ref("steps") * 40 // config.get_ref("epochs"),
        end=0.001,
        b2=0.95 if size.startswith("resnet") else 0.999,
        weight_decay=0.04,
        weight_decay_growth=5.0,
        clip=5.0,
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
    config.data.transforms = (spec(RandomResizedCrop, height=224, width=224, smallest=0.67), spec(HorizontalFlip))
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
    config.next = "segment"
    return config
