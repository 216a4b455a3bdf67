"""UPerNet on ADE20K from MAE's encoder (He et al. 2022, section 5, appendix A.4; hyperparameters of a community reproduction).

Command   python -m experiments.prepare --name=scene_parse150_semantic --manual_dir=ADEChallengeData2016
          python -m experiments.segment --config=mae_finetune:b16 --init=runs/mae-b16
Cost      not yet measured      Expected  not yet measured (the paper: 48.1 mIoU with ViT-B, 53.6 with ViT-L, 1600 epochs of pretraining)

AdamW 8e-5, layer decay .8, drop path .1, 160,000 steps of 16 images (issue 1 of facebookresearch/long_seq_mae). Deviations: no relative
position bias; images are scaled by .5 to 2 from their own size (the benchmark first resizes them to 2048 x 512).
"""

from ml_collections import ConfigDict

from aeseg.data.colours import PhotometricJitter
from aeseg.data.sources.tfds import dataset
from aeseg.data.transforms import HorizontalFlip, RandomCrop, RandomScale
from aeseg.models.neck import PyramidNeck
from aeseg.runs.configs import data_config, number, run_config, segmenter_config
from aeseg.spec import recipe, spec
from aeseg.training.optimiser import adamw

ARGUMENTS = ("b16", "l16")
OUTPUTS = {"b16": (3, 5, 7, 11), "l16": (7, 11, 15, 23)}
"""Blocks that UPerNet reads, as in the configs of BEiT's authors."""
SPLITS = {"train": "train", "validation": "validation", "test": "validation"}


def get_config(size: str = "b16") -> ConfigDict:
    """Return the config of an encoder size."""
    encoder = recipe("aeseg.models.encoders", "vit", size)
    encoder.outputs = OUTPUTS[size]
    encoder.drop_path = 0.1
    head = recipe("aeseg.models.heads", "upernet", "reference")
    head.width = encoder.width
    cut = (spec(RandomScale), spec(RandomCrop, height=512, width=512))
    steps = number(160_000)
    return run_config(
        segmenter_config(head, encoder, 150, neck=(spec(PyramidNeck, blocks=4),)),
        data_config(
            {name: dataset("scene_parse150_semantic", split) for name, split in SPLITS.items()},
            transforms=(*cut, spec(HorizontalFlip), spec(PhotometricJitter)),
            cache_gib=0.0,
            threads=16,
        ),
        steps=steps,
        batch_size=16,
        window=(512, 512),
        dtype="bfloat16",
        optimiser=spec(
            adamw, learning_rate=8e-5, steps=steps, warmup=1_500, schedule="polynomial", power=1.0, weight_decay=0.05, layer_decay=0.8
        ),
        evaluate_every=16_000,
        save_every=16_000,
        keep=1,
    )
