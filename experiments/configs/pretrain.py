"""Pretrain any autoencoder on the embedded scenes (64x64, 4,096 images, no labels).

Command   python -m experiments.pretrain [--config=pretrain:<method>[,<size>]]     methods: aeseg/methods/*.py
Cost      see README.md, "Results"      Expected  see experiments/results/scenes.jsonl
"""

from ml_collections import ConfigDict

from aeseg.data.sources.scenes import Scenes
from aeseg.data.transforms import HorizontalFlip
from aeseg.spec import follow, recipe, spec
from aeseg.training.optimiser import adamw

ARGUMENTS = (
    *("denoising", "reconstruction", "masked", "simmim", "variational", "quantised", "multimodal"),
    *("denoising,tiny", "multimodal,senses"),
)


def get_config(argument: str = "denoising") -> ConfigDict:
    """The method's file name, and the size of its recipe."""
    method, _, size = argument.partition(",")
    config = ConfigDict()
    config.seed = 0
    config.steps = 1500
    config.batch_size = 16
    config.microbatches = 1
    config.window = (64, 64)
    config.method = recipe("aeseg.methods", method, size or "small")
    config.dtype = "float32"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.optimiser = spec(
        adamw, learning_rate=2e-3, steps=config.get_ref("steps"), warmup=config.get_ref("steps") // 20, weight_decay=0.05, b2=0.95, clip=1.0
    )
    config.ema = 0.0
    config.data = ConfigDict()
    told = size == "senses"  # a caption says where things are, and would be wrong of a mirrored image
    for split, records in (("train", 4096), ("validation", 256), ("test", 512)):
        config.data[split] = spec(Scenes, split=split, records=records, caption=told, sound=told)
    config.data.transforms = () if told else (spec(HorizontalFlip),)
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
    config.best = "loss"
    config.next = "segment:unet,vit" if config.method.encoder.target.endswith(":ViT") else "segment"
    return config
