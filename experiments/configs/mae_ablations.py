"""MAE in small, for its ablations: ViT of 6 blocks on CamVid's 367 training frames at 96x128, then a linear probe on their labels.

Not a published protocol: the paper's ablations (He et al. 2022, section 4.1) are ViT-L's on ImageNet.  Patches of 8 pixels make 12 x 16
of them, nearly as many as the paper's 14 x 14.

Command   python -m experiments.pretrain --config=mae_ablations:masked --config.method.sampler.ratio=0.5
          python -m experiments.segment --config=mae_ablations:linear --init=runs/mae-ablations-masked
Cost      3 to 8 minutes of one core, then 1.5      Expected  see experiments/results/mae_ablations.jsonl (test split, 96x128)
"""

from ml_collections import ConfigDict

from aeseg.data.sources.folder import camvid
from aeseg.data.transforms import HorizontalFlip, RandomResizedCrop, Resize
from aeseg.methods.segmenter import Segmenter
from aeseg.models.heads.linear import LinearHead
from aeseg.spec import choose, follow, recipe, spec
from aeseg.training.optimiser import adamw

ARGUMENTS = ("masked", "linear")


def get_config(argument: str = "masked") -> ConfigDict:
    """`masked` pretrains; `linear` probes what it has learned."""
    probes = choose(argument, masked={"probes": False}, linear={"probes": True})["probes"]
    config = ConfigDict()
    config.seed = 0
    config.steps = 400 if probes else 350
    config.batch_size = 8 if probes else 16
    config.microbatches = 1
    config.window = (96, 128)
    if probes:
        encoder = recipe("aeseg.models.encoders", "vit")
        config.method = spec(Segmenter, encoder=encoder, head=spec(LinearHead, classes=11, stride=encoder.patch), classes=11)
        config.method.head.classes = config.method.get_ref("classes")
        config.freeze = "linear-probe"
        config.class_weights = "none"
    else:
        config.method = recipe("aeseg.methods", "masked")
        config.next = "mae_ablations:linear"
    config.dtype = "float32"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.optimiser = spec(
        adamw,
        learning_rate=5e-3 if probes else 1e-3,
        steps=config.get_ref("steps"),
        warmup=config.get_ref("steps") // 20,
        weight_decay=0.0 if probes else 0.05,
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
    config.evaluate_every = config.steps
    config.save_every = config.steps
    config.keep = 1
    config.keep_every = 0
    config.best = "mean_iou" if probes else "loss"
    return config
