"""UPerNet on ADE20K from MAE's encoder (He et al. 2022, section 5 and appendix A.4; the rate of the community's reproduction).

Command   python -m experiments.prepare --name=scene_parse150_semantic --manual_dir=ADEChallengeData2016
          python -m experiments.segment --config=mae_finetune:b16 --init=runs/mae-b16
Cost      not yet measured      Expected  not yet measured (the paper: 48.1 mIoU with ViT-B, 53.6 with ViT-L, 1600 epochs of pretraining)

AdamW 8e-5, layer decay .8, drop path .1, 160,000 steps of 16 images (issue 1 of facebookresearch/long_seq_mae).  Deviations: no relative
position bias; images keep their size where the benchmark's resizes them to 2048 x 512 before scaling by .5 to 2.
"""

from ml_collections import ConfigDict

from aeseg.data.colours import PhotometricJitter
from aeseg.data.sources.tfds import dataset
from aeseg.data.transforms import HorizontalFlip, RandomCrop, RandomScale
from aeseg.methods.segmenter import Segmenter
from aeseg.models.neck import PyramidNeck
from aeseg.spec import follow, recipe, spec
from aeseg.training.optimiser import adamw

ARGUMENTS = ("b16", "l16")
OUTPUTS = {"b16": (3, 5, 7, 11), "l16": (7, 11, 15, 23)}


def get_config(size: str = "b16") -> ConfigDict:
    """The size of the encoder."""
    config = ConfigDict()
    config.seed = 0
    config.steps = 160_000
    config.batch_size = 16
    config.microbatches = 1
    config.window = (512, 512)
    encoder = recipe("aeseg.models.encoders", "vit", size)
    encoder.outputs = OUTPUTS[size]
    encoder.drop_path = 0.1
    head = recipe("aeseg.models.heads", "upernet", "reference")
    head.width = encoder.width
    config.method = spec(Segmenter, encoder=encoder, neck=(spec(PyramidNeck, blocks=4),), head=head, classes=150)
    config.method.head.classes = config.method.get_ref("classes")
    config.freeze = "fine-tune"
    config.class_weights = "none"
    config.dtype = "bfloat16"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.optimiser = spec(
        adamw,
        learning_rate=8e-5,
        steps=config.get_ref("steps"),
        warmup=1_500,
        schedule="polynomial",
        power=1.0,
        weight_decay=0.05,
        layer_decay=0.8,
    )
    config.ema = 0.0
    config.data = ConfigDict()
    config.data.root = ""
    for name, split in (("train", "train"), ("validation", "validation"), ("test", "validation")):
        config.data[name] = dataset("scene_parse150_semantic", split)
        config.data[name].data_dir = config.data.get_ref("root")
    config.data.transforms = (
        spec(RandomScale, low=0.5, high=2.0),
        spec(RandomCrop, height=512, width=512),
        spec(HorizontalFlip),
        spec(PhotometricJitter),
    )
    config.data.evaluation_transforms = ()
    config.data.fraction = 1.0
    config.data.cache_gib = 0.0
    config.data.on_error = "raise"
    config.data.threads = 16
    config.data.workers = 0
    config.fsdp = 1
    config.log_every = 50
    config.evaluate_every = 16_000
    config.save_every = 16_000
    config.keep = 1
    config.keep_every = 0
    config.best = "mean_iou"
    return config
