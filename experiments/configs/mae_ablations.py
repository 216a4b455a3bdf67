"""MAE scaled down, for ablations: ViT of 6 blocks on CamVid's 367 training frames at 96x128, then a linear probe on their labels.

Not a published protocol: the paper's ablations (He et al. 2022, section 4.1) use ViT-L on ImageNet. Patches of 8 pixels give a grid of
12 x 16, close to the paper's 14 x 14. The recorded rows pretrain for 350 steps, a fifth of this config's 1,750. They compare only how a
pretraining begins: their probes are no better than after one step.

Command   python -m experiments.pretrain --config=mae_ablations:masked --config.method.sampler.ratio=0.5
          python -m experiments.segment --config=mae_ablations:linear --init=runs/mae-ablations-masked
Cost      15 to 40 minutes of one core, then 1.5      Expected  see experiments/results/mae_ablations.jsonl (test split, 96x128)
"""

from ml_collections import ConfigDict

from aeseg.data.published import camvid_splits
from aeseg.data.transforms import HorizontalFlip, RandomResizedCrop, Resize
from aeseg.models.heads.linear import LinearHead
from aeseg.runs.configs import data_config, number, run_config, segmenter_config, warm_adamw
from aeseg.spec import choose, recipe, spec

ARGUMENTS = ("masked", "linear")


def get_config(argument: str = "masked") -> ConfigDict:
    """Return the config of `masked` (pretrains) or `linear` (probes the pretrained encoder)."""
    probes = choose(argument, masked={"probes": False}, linear={"probes": True})["probes"]
    encoder = recipe("aeseg.models.encoders", "vit")
    head = spec(LinearHead, classes=11, stride=encoder.patch)
    steps = number(400 if probes else 1750)
    return run_config(
        segmenter_config(head, encoder, 11, neck=()) if probes else recipe("aeseg.methods", "masked"),
        data_config(
            camvid_splits(),
            transforms=(spec(RandomResizedCrop, height=96, width=128, smallest=0.4), spec(HorizontalFlip)),
            evaluation_transforms=(spec(Resize, height=96, width=128),),
        ),
        steps=steps,
        batch_size=8 if probes else 16,
        window=(96, 128),
        optimiser=warm_adamw(5e-3 if probes else 1e-3, steps, weight_decay=0.0 if probes else 0.05),
        transfer="linear-probe" if probes else "fine-tune",
        evaluate_every=steps.get(),
        save_every=steps.get(),
        keep=1,
        next="" if probes else "mae_ablations:linear",
    )
