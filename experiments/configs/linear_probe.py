"""What a frozen encoder knows of ADE20K: batch norm without parameters and one 1x1 convolution, trained with LARS.

Command   python -m experiments.segment --config=linear_probe:vit,b16 --init=runs/mae-b16 --config.freeze=linear-probe
Cost      not yet measured      Expected  not yet measured

The segmentation analogue of MAE's linear probe (He et al. 2022, table 10): LARS, momentum .9, blr .1 x batch / 256, no weight decay,
90 epochs of which 10 warm up, a cosine.  Deviations: batch 64, not 16384; batch norm has a scale and an offset, which the convolution
after it could take in.
"""

from ml_collections import ConfigDict

from aeseg.data.sources.tfds import dataset
from aeseg.data.transforms import HorizontalFlip, RandomResizedCrop
from aeseg.methods.segmenter import Segmenter
from aeseg.models.heads.linear import LinearHead
from aeseg.spec import follow, recipe, spec
from aeseg.training.optimiser import lars

ARGUMENTS = ("vit,b16", "vit,l16")
TRAINING_IMAGES = 20_210


def get_config(argument: str = "vit,b16") -> ConfigDict:
    """The encoder's file name and the size of its recipe."""
    name, _, size = argument.partition(",")
    config = ConfigDict()
    config.seed = 0
    config.epochs = 90
    config.batch_size = 64
    config.steps = config.get_ref("epochs") * TRAINING_IMAGES // config.get_ref("batch_size")
    config.microbatches = 1
    config.window = (224, 224)
    encoder = recipe("aeseg.models.encoders", name, size)
    head = spec(LinearHead, classes=150, stride=encoder.patch)
    config.method = spec(Segmenter, encoder=encoder, head=head, classes=150)
    config.method.head.classes = config.method.get_ref("classes")
    config.freeze = "linear-probe"
    config.class_weights = "none"
    config.dtype = "bfloat16"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.blr = 0.1  # of a batch of 256
    config.optimiser = spec(
        lars,
        learning_rate=config.get_ref("blr") * config.get_ref("batch_size") / 256,
        steps=config.get_ref("steps"),
        warmup=config.get_ref("steps") * 10 // config.get_ref("epochs"),
    )
    config.ema = 0.0
    config.data = ConfigDict()
    config.data.root = ""
    for part, split in (("train", "train"), ("validation", "validation"), ("test", "validation")):
        config.data[part] = dataset("scene_parse150_semantic", split)
        config.data[part].data_dir = config.data.get_ref("root")
    config.data.transforms = (spec(RandomResizedCrop, height=224, width=224), spec(HorizontalFlip))
    config.data.evaluation_transforms = ()
    config.data.fraction = 1.0
    config.data.cache_gib = 0.0
    config.data.on_error = "raise"
    config.data.threads = 16
    config.data.workers = 0
    config.fsdp = 1
    config.log_every = 50
    config.evaluate_every = 3_000
    config.save_every = 3_000
    config.keep = 1
    config.keep_every = 0
    config.best = "mean_iou"
    return config
