"""The reference example: a convolutional autoencoder of CIFAR-10 with binary cross-entropy.

Adam, batch 32, 50 epochs, validation on the test images, as its listing says.  What we changed, because the listing cannot run:
its convolutions are unpadded and so never return to the size they came from (ours are SAME), and its 256x256 input is not
CIFAR's 32x32 (ours is 32x32; the encoder takes any size divisible by 8).

Command   python -m experiments.prepare --name=cifar10 && python -m experiments.pretrain --config=cifar10
          python -m experiments.pretrain --config=cifar10:folder --config.data.root=<train/ and test/ folders of images>
Cost      not yet measured      Expected  not yet measured
"""

from ml_collections import ConfigDict

from aeseg.data.sources.folder import Folder
from aeseg.data.sources.tfds import dataset
from aeseg.methods.reconstruction import Reconstruction
from aeseg.spec import follow, recipe, spec
from aeseg.training.optimiser import adamw

ARGUMENTS = ("tfds", "folder")


def get_config(source: str = "tfds") -> ConfigDict:
    """`tfds`: the 50,000 + 10,000 images; `folder`: images of one's own in train/ and test/."""
    config = ConfigDict()
    config.seed = 0
    config.epochs = 50
    config.images = 50_000
    config.batch_size = 32
    config.steps = config.get_ref("epochs") * config.get_ref("images") // config.get_ref("batch_size")
    config.microbatches = 1
    config.window = (32, 32)
    config.method = spec(
        Reconstruction,
        encoder=recipe("aeseg.models.encoders", "convnet", "reference"),
        decoder=recipe("aeseg.models.decoders", "convolutional", "reference"),
        objective="binary_cross_entropy",
    )
    config.dtype = "float32"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.optimiser = spec(adamw, learning_rate=1e-3, steps=config.get_ref("steps"), schedule="constant", weight_decay=0.0)
    config.ema = 0.0
    config.data = ConfigDict()
    config.data.root = "data/cifar10" if source == "folder" else ""
    for name, split in (("train", "train"), ("validation", "test"), ("test", "test")):
        if source == "folder":
            config.data[name] = spec(Folder, root="", images=split, labels="")
            config.data[name].root = config.data.get_ref("root")
        else:
            config.data[name] = dataset("cifar10", split)
            config.data[name].data_dir = config.data.get_ref("root")
    config.data.transforms = ()
    config.data.evaluation_transforms = ()
    config.data.fraction = 1.0
    config.data.cache_gib = 1.0
    config.data.on_error = "raise"
    config.data.threads = 2
    config.data.workers = 0
    config.fsdp = 1
    config.log_every = 100
    config.evaluate_every = 1562
    config.save_every = 1562
    config.keep = 2
    config.keep_every = 0
    config.best = "loss"
    config.next = "segment"
    return config
