"""CamVid at 96x128, to compare methods on a laptop's CPU. Not a published protocol.

Command   python -m experiments.pretrain --config=camvid_small:denoising          the 367 training frames, no labels
          python -m experiments.segment --config=camvid_small:unet --init=runs/camvid-small-denoising
          --config.data.fraction=0.1 trains on a tenth of the labels; --config.data.root is the data's folder
Cost      see experiments/results/README.md      Expected  see experiments/results/camvid_small.jsonl (test split, 96x128)
"""

from ml_collections import ConfigDict

from aeseg.data.published import camvid_splits
from aeseg.data.transforms import HorizontalFlip, RandomResizedCrop, Resize
from aeseg.runs.configs import data_config, encoder_of, file_of, method_config, number, run_config, warm_adamw
from aeseg.runs.run import has_head
from aeseg.spec import spec

ARGUMENTS = ("denoising", "reconstruction", "masked", "simmim", "fcmae", "spark", "unet", "unet,vit", "unet,convnextv2", "upernet,vit")


def get_config(argument: str = "denoising") -> ConfigDict:
    """Return the config of an autoencoder (pretrains) or `head[,encoder]` (segments).

    With `vit` (patch 8) a neck makes strides 1, 2, 4 and 8; `--init` brings its own ViT size.
    """
    method = method_config(argument, classes=11)
    segments, encoder = has_head(method), file_of(encoder_of(method))
    steps = number(600)
    return run_config(
        method,
        data_config(
            camvid_splits(),
            transforms=(spec(RandomResizedCrop, height=96, width=128, smallest=0.4), spec(HorizontalFlip)),
            evaluation_transforms=(spec(Resize, height=96, width=128),),
        ),
        steps=steps,
        batch_size=8 if segments else 16,
        window=(96, 128),
        optimiser=warm_adamw(2e-3 if encoder == "convnet" else 1e-3, steps),
        evaluate_every=300,
        save_every=300,
        keep=1,
        next="" if segments else "camvid_small:unet" if encoder == "convnet" else f"camvid_small:unet,{encoder}",
    )
