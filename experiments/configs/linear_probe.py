"""Linear probe of a frozen encoder on ADE20K: batch norm and one 1x1 convolution, trained with LARS.

Command   python -m experiments.segment --config=linear_probe:vit,b16 --init=runs/mae-b16
Cost      not yet measured      Expected  not yet measured

This is MAE's linear probe (He et al. 2022, table 10) for segmentation: LARS, momentum .9, lr .1 x batch / 256, no weight decay, 90
epochs, 10 of them warm-up, cosine schedule. Deviations: batch 64 instead of 16384; batch norm has a scale and an offset, which the
following convolution could absorb.
"""

from ml_collections import ConfigDict

from aeseg.data.sources.tfds import dataset
from aeseg.data.transforms import HorizontalFlip, RandomResizedCrop
from aeseg.models.heads.linear import LinearHead
from aeseg.runs.configs import data_config, number, run_config, segmenter_config
from aeseg.spec import recipe, spec
from aeseg.training.optimiser import lars

ARGUMENTS = ("vit,b16", "vit,l16", "vit,h14")
TRAINING_IMAGES = 20_210
SPLITS = {"train": "train", "validation": "validation", "test": "validation"}


def get_config(argument: str = "vit,b16") -> ConfigDict:
    """Return the config of an encoder, named by file and size."""
    name, _, size = argument.partition(",")
    encoder = recipe("aeseg.models.encoders", name, size)
    epochs, batch, base_rate = number(90), number(64), number(0.1)
    steps = epochs * TRAINING_IMAGES // batch
    return run_config(
        segmenter_config(spec(LinearHead, classes=150, stride=encoder.patch), encoder, 150, neck=()),
        data_config(
            {name: dataset("scene_parse150_semantic", split) for name, split in SPLITS.items()},
            transforms=(spec(RandomResizedCrop, height=224, width=224), spec(HorizontalFlip)),
            cache_gib=0.0,
            threads=16,
        ),
        steps=steps,
        batch_size=batch,
        window=(224, 224),
        dtype="bfloat16",
        optimiser=spec(lars, learning_rate=base_rate * batch / 256, steps=steps, warmup=steps * 10 // epochs),
        transfer="linear-probe",
        evaluate_every=3_000,
        save_every=3_000,
        keep=1,
        given={"epochs": epochs, "blr": base_rate},
    )
