"""FC-DenseNet ("Tiramisu") on CamVid in two stages, as in Jegou et al. 2017, section 4; U-Net and ENet by the same recipe.

The paper's protocol, with what its authors' code adds (SimJeg/FC-DenseNet, config/FC-DenseNet103.py and train.py): from scratch on the
367 training images; first crops of 224x224 in batches of 3, RMSprop 1e-3, then (`full`) whole images of 360x480 and 1e-4; the rate falls
by .995 each epoch; flips; dropout 0.2; He's initialisation; classes are not weighed; best by the mean IoU of validation.  A penalty of
1e-4 times the sum of the squared weights is a weight decay of 2e-4.  Evaluate with --batch_statistics: their batch norm always does.

Deviations: the epochs are fixed (750 was their most, 150 without a better one their patience), the rate falls each step, the best step
is found with running averages, the second stage starts from the last of the first, norms' scales are not decayed; and U-Net's whole
images are padded to 368x480, which its four poolings halve.

Command   python -m experiments.segment --config=camvid_tiramisu:fc_densenet103
          python -m experiments.segment --config=camvid_tiramisu:fc_densenet103,full --init=runs/camvid-tiramisu-fc-densenet103
          python -m experiments.evaluate --workdir=runs/camvid-tiramisu-fc-densenet103-full --best --batch_statistics
          small_fc_densenet and so on: small networks at 72x96 for a CPU
Cost      not yet measured      Expected  66.9 mIoU, 91.5 global (table 3, FC-DenseNet103; test split)
"""

from ml_collections import ConfigDict

from aeseg.data.sources.folder import camvid
from aeseg.data.transforms import HorizontalFlip, PadToMultiple, RandomCrop, Resize
from aeseg.methods.segmenter import Segmenter
from aeseg.spec import choose, follow, recipe, spec
from aeseg.training.optimiser import rmsprop
from aeseg.types import UserError

NETWORKS = {
    "fc_densenet56": ("fc_densenet", "56", "fc_densenet", "56"),
    "fc_densenet67": ("fc_densenet", "67", "fc_densenet", "67"),
    "fc_densenet103": ("fc_densenet", "103", "fc_densenet", "103"),
    "unet": ("convnet", "unet", "unet", "reference"),
    "enet": ("enet", "enet", "enet", "enet"),
    "small_fc_densenet": ("fc_densenet", "small", "fc_densenet", "small"),
    "small_unet": ("convnet", "small", "unet", "small"),
    "small_enet": ("enet", "small", "enet", "small"),
}
"""File and size of the encoder, file and size of the head."""
ARGUMENTS = tuple(f"{network}{stage}" for network in NETWORKS for stage in ("", ",full"))
TRAINING_IMAGES = 367


def get_config(argument: str = "fc_densenet103") -> ConfigDict:
    """A network; after a comma `full` for the second stage, which continues the first."""
    network, _, stage = argument.partition(",")
    if stage not in ("", "full"):
        raise UserError(f"The stage after the comma is full, or there is none; got {stage!r}. Write {network},full.")
    parts = choose(network, **{name: {"of": of} for name, of in NETWORKS.items()})["of"]
    small, full = network.startswith("small_"), stage == "full"
    config = ConfigDict()
    config.seed = 0
    config.epochs = (3 if full else 6) if small else (200 if full else 750)
    config.batch_size = 3
    config.steps = config.get_ref("epochs") * TRAINING_IMAGES // config.get_ref("batch_size")
    config.microbatches = 1
    image = (72, 96) if small else (360, 480)
    if full and network == "unet":
        image = (368, 480)
    config.window = image if full else (48, 48) if small else (224, 224)
    encoder, head = recipe("aeseg.models.encoders", *parts[:2]), recipe("aeseg.models.heads", *parts[2:])
    if network == "unet":
        encoder.norm = head.norm = "batch"
        encoder.use_bias = head.use_bias = False
    config.method = spec(Segmenter, encoder=encoder, head=head, classes=11)
    config.method.head.classes = config.method.get_ref("classes")
    config.freeze = "continue" if full else "fine-tune"
    config.class_weights = "none"
    config.dtype = "float32"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.decay = 0.995  # of the rate, each epoch
    config.optimiser = spec(
        rmsprop,
        learning_rate=1e-4 if full else 1e-3,
        steps=config.get_ref("steps"),
        schedule="exponential",
        end=config.get_ref("decay") ** config.get_ref("epochs"),
        weight_decay=2e-4,
    )
    config.ema = 0.0
    config.data = ConfigDict()
    config.data.root = "data/camvid"
    for name, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        config.data[name] = camvid(split)
        config.data[name].root = config.data.get_ref("root")
    sized = (spec(Resize, height=72, width=96),) if small else (spec(PadToMultiple, multiple=16),) if image[0] == 368 else ()
    cut = () if full else (spec(RandomCrop, height=config.window[0], width=config.window[1]),)
    config.data.transforms = (*sized, *cut, spec(HorizontalFlip))
    config.data.evaluation_transforms = sized
    config.data.fraction = 1.0
    config.data.cache_gib = 1.0
    config.data.on_error = "raise"
    config.data.threads = 2 if small else 8
    config.data.workers = 0
    config.fsdp = 1
    config.log_every = 50
    config.evaluate_every = config.steps // (3 if small else 75)
    config.save_every = config.steps // (3 if small else 75)
    config.keep = 1
    config.keep_every = 0
    config.best = "mean_iou"
    return config
