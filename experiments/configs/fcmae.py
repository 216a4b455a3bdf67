"""FCMAE of ImageNet (Woo et al. 2023, appendix A.1): AdamW, 1600 epochs, batch 4096, units of 32 pixels, ratio .6.

Command   python -m experiments.prepare --name=imagenet2012 --manual_dir=<the archives>
          python -m experiments.pretrain --config=fcmae:v2_tiny --config.fsdp=8
          --config=fcmae:v2_tiny,folder --config.data.root=<train/ and validation/ folders of images>: your own images
Cost      not yet measured
Expected  not yet measured (the paper: ADE20K 52.1 from base, UPerNet)

Deviation: crops are resized by area or bilinearly, not bicubically. The learning rate is blr x batch / 256.
"""

from ml_collections import ConfigDict

from aeseg.runs.imagenet import imagenet_config
from aeseg.spec import recipe
from aeseg.training.optimiser import adamw

ARGUMENTS = ("v2_tiny", "base", "v2_tiny,folder")


def get_config(argument: str = "v2_tiny") -> ConfigDict:
    """Return the config of a size of the method; `,folder` reads your images."""
    size, _, source = argument.partition(",")
    fields = {"b1": 0.9, "b2": 0.95, "weight_decay": 0.05}
    return imagenet_config(recipe("aeseg.methods", "fcmae", size), source, adamw, 1.5e-4, epochs=1600, warmup_epochs=40, **fields)
