"""SimMIM of ImageNet (Xie et al. 2022, section 4.1): AdamW, 800 epochs, batch 2048, units of 32 pixels, ratio .6.

Command   python -m experiments.prepare --name=imagenet2012 --manual_dir=<the archives>
          python -m experiments.pretrain --config=simmim:b16 --config.fsdp=8
          --config=simmim:b16,folder --config.data.root=<train/ and validation/ folders of images>: your own images
Cost      not yet measured
Expected  not yet measured (the paper: ImageNet accuracy 83.8 after fine-tuning; no segmentation)

Deviations: a cosine schedule (the authors: lr / 10 at epoch 700); crops are shrunk by area averaging (the authors: bilinearly, with
antialiasing). The learning rate is blr x batch / 512.
"""

from ml_collections import ConfigDict

from aeseg.runs.imagenet import imagenet_config
from aeseg.spec import recipe
from aeseg.training.optimiser import adamw

ARGUMENTS = ("b16", "b16,folder")


def get_config(argument: str = "b16") -> ConfigDict:
    """Return the config of a size of the method; `,folder` reads your images."""
    size, _, source = argument.partition(",")
    fields = {"batch_size": 2048, "smallest": 0.67, "b1": 0.9, "b2": 0.999, "weight_decay": 0.05, "clip": 5.0}
    method = recipe("aeseg.methods", "simmim", size)
    return imagenet_config(method, source, adamw, 1e-4, 512, epochs=800, warmup_epochs=10, following="linear_probe", **fields)
