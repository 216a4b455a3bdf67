"""SparK of ImageNet (Tian et al. 2023, section 4): LAMB, 1600 epochs, batch 4096, units of 32 pixels, ratio .6.

Command   python -m experiments.prepare --name=imagenet2012 --manual_dir=<the archives>
          python -m experiments.pretrain --config=spark:resnet50 --config.fsdp=8
          --config=spark:resnet50,folder --config.data.root=<train/ and validation/ folders of images>: your own images
Cost      not yet measured
Expected  not yet measured (the paper: ImageNet accuracy 80.6 from ResNet-50 after fine-tuning; no segmentation)

Learning rate, betas and weight decay follow the authors' code (pretrain/utils/arg_util.py, lr_control.py; b2 is .95 for ResNet, .999 for
ConvNeXt). Deviations: the warm-up starts at 0 instead of .005 of the peak; crops are resized by area or bilinearly, not bicubically.
"""

from ml_collections import ConfigDict

from aeseg.runs.imagenet import imagenet_config
from aeseg.spec import recipe
from aeseg.training.optimiser import lamb

ARGUMENTS = ("resnet50", "resnet101", "v1_small", "v1_base", "resnet50,folder")


def get_config(argument: str = "resnet50") -> ConfigDict:
    """Return the config of a size of the method; `,folder` reads your images."""
    size, _, source = argument.partition(",")
    fields = {"end": 0.001, "weight_decay": 0.04, "weight_decay_growth": 5.0, "clip": 5.0}
    return imagenet_config(
        recipe("aeseg.methods", "spark", size),
        source,
        lamb,
        2e-4,
        epochs=1600,
        warmup_epochs=40,
        smallest=0.67,
        b2=0.95 if size.startswith("resnet") else 0.999,
        **fields,
    )
