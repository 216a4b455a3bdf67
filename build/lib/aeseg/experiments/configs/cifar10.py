"""The reference example: a convolutional autoencoder of CIFAR-10 with binary cross-entropy.

Adam, batch 32, 50 epochs, validation on the test images, as in its listing. Deviations, since the listing cannot run: convolutions are
padded (SAME), because unpadded ones do not return to the size of the input; and images are CIFAR's 32x32 instead of 256x256 (the encoder
accepts any size divisible by 8).

Command   python -m experiments.prepare --name=cifar10 && python -m experiments.pretrain --config=cifar10
          python -m experiments.pretrain --config=cifar10:folder --config.data.root=<train/ and test/ folders of images>
Cost      not yet measured      Expected  not yet measured
"""

from ml_collections import ConfigDict

from aeseg.data.sources.folder import Folder
from aeseg.data.sources.tfds import dataset
from aeseg.methods.reconstruction import Reconstruction
from aeseg.runs.configs import data_config, number, run_config
from aeseg.spec import recipe, spec
from aeseg.training.optimiser import adamw

ARGUMENTS = ("tfds", "folder")
SPLITS = {"train": "train", "validation": "test", "test": "test"}


def get_config(source: str = "tfds") -> ConfigDict:
    """Return the config for `tfds`, the 50,000 + 10,000 images, or `folder`, your images in train/ and test/."""
    if source == "folder":
        splits = {name: spec(Folder, root="data/cifar10", images=split, labels="") for name, split in SPLITS.items()}
    else:
        splits = {name: dataset("cifar10", split) for name, split in SPLITS.items()}
    method = spec(
        Reconstruction,
        encoder=recipe("aeseg.models.encoders", "convnet", "reference"),
        decoder=recipe("aeseg.models.decoders", "convolutional", "reference"),
        objective="binary_cross_entropy",
    )
    epochs, images, batch = number(50), number(50_000), number(32)
    steps = epochs * images // batch
    return run_config(
        method,
        data_config(splits),
        steps=steps,
        batch_size=batch,
        window=(32, 32),
        optimiser=spec(adamw, learning_rate=1e-3, steps=steps, schedule="constant", weight_decay=0.0),
        log_every=100,
        evaluate_every=1562,
        save_every=1562,
        next="segment",
        given={"epochs": epochs, "images": images},
    )
