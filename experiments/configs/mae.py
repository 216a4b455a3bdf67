"""Masked autoencoders of ImageNet (He et al. 2022, table 8): AdamW, 800 epochs, batch 4096.

Command   python -m experiments.prepare --name=imagenet2012 --manual_dir=<the archives>
          python -m experiments.pretrain --config=mae:b16 --config.fsdp=8
          --config=mae:b16,folder --config.data.root=<train/ and validation/ folders of images>: your own images
Cost      not yet measured (the paper: ViT-L, 42 h on 64 V100)
Expected  not yet measured (the paper: ADE20K 48.1 from ViT-B, 53.6 from ViT-L; mae_finetune)

The paper's longest runs use --config.epochs=1600. Patches are standardised, as in its transfer results (table 7). Deviation: crops are
resized by area or bilinearly, not bicubically. The learning rate is blr x batch / 256.
"""

from ml_collections import ConfigDict

from aeseg.runs.imagenet import imagenet_config
from aeseg.spec import recipe
from aeseg.training.optimiser import adamw

ARGUMENTS = ("b16", "l16", "h14", "b16,folder")
NEXT = {"b16": "mae_finetune", "l16": "mae_finetune:l16", "h14": "linear_probe:vit,h14"}
"""Config that segments with each size; the paper does not segment with ViT-H."""


def get_config(argument: str = "b16") -> ConfigDict:
    """Return the config of a size of the method; `,folder` reads your images."""
    size, _, source = argument.partition(",")
    method = recipe("aeseg.methods", "masked", size)
    method.standardised = True
    method.encoder.remat = size == "h14"
    fields = {"b1": 0.9, "b2": 0.95, "weight_decay": 0.05}
    return imagenet_config(method, source, adamw, 1.5e-4, epochs=800, warmup_epochs=40, following=NEXT.get(size, "mae_finetune"), **fields)
