"""FC-DenseNet ("Tiramisu") on CamVid in two stages, as in Jegou et al. 2017, section 4; U-Net and ENet with the same recipe.

The protocol follows the paper and its authors' code (SimJeg/FC-DenseNet, config/FC-DenseNet103.py and train.py). Training is from scratch
on the 367 training images: first on crops of 224x224 in batches of 3 with RMSprop 1e-3, then (`full`) on whole images of 360x480 with
1e-4. The learning rate falls by a factor of .995 per epoch. Images are flipped; dropout is 0.2; initialisation is He's; classes have no
weights; the best step has the highest mean IoU on validation. The authors' penalty, 1e-4 times the sum of squared weights, equals a weight
decay of 2e-4. Evaluate with --batch_statistics, as the authors do.

Deviations: the number of epochs is fixed (the authors stop after 150 without improvement, at most 750); the learning rate falls per step;
the best step is chosen with running averages; the second stage starts from the last step of the first; the scales of norms are not
decayed; U-Net's whole images are padded to 368x480, which its four poolings divide.

Command   python -m experiments.segment --config=camvid_tiramisu:fc_densenet103
          python -m experiments.segment --config=camvid_tiramisu:fc_densenet103,full --init=runs/camvid-tiramisu-fc-densenet103
          python -m experiments.evaluate --workdir=runs/camvid-tiramisu-fc-densenet103-full --best --batch_statistics
          `small_fc_densenet` and others: small networks at 72x96, for a CPU
Cost      small: 40 to 145 s per stage on one core; full size needs an accelerator, and has no recorded row
Expected  66.9 mIoU, 91.5 global (table 3, FC-DenseNet103; test split)
"""

from ml_collections import ConfigDict

from aeseg.data.published import camvid_splits
from aeseg.data.transforms import HorizontalFlip, PadToMultiple, RandomCrop, Resize
from aeseg.runs.configs import data_config, number, run_config, segmenter_config
from aeseg.spec import choose, recipe, spec
from aeseg.training.optimiser import rmsprop
from aeseg.types import UserError

NETWORKS = {
    "fc_densenet56": ("fc_densenet", "56", "fc_densenet", "56"),
    "fc_densenet67": ("fc_densenet", "67", "fc_densenet", "67"),
    "fc_densenet103": ("fc_densenet", "103", "fc_densenet", "103"),
    "unet": ("convnet", "unet", "unet", "reference"),
    "enet": ("enet", "enet", "enet", "enet"),
    "small_fc_densenet": ("fc_densenet", "small", "fc_densenet", "small"),
    "small_unet": ("convnet", "small", "unet", "small"),
    "small_enet": ("enet", "small", "enet", "small"),
}
"""{network: (file and size of the encoder, file and size of the head)}."""
ARGUMENTS = tuple(f"{network}{stage}" for network in NETWORKS for stage in ("", ",full"))
TRAINING_IMAGES = 367


def get_config(argument: str = "fc_densenet103") -> ConfigDict:
    """Return the config of a network; `,full` is the second stage, which continues the first."""
    network, _, stage = argument.partition(",")
    if stage not in ("", "full"):
        raise UserError(f"Expected no stage, or `full`, after the comma; got {stage!r}. Write {network},full.")
    parts = choose(network, **{name: {"of": of} for name, of in NETWORKS.items()})["of"]
    small, full = network.startswith("small_"), stage == "full"
    encoder, head = recipe("aeseg.models.encoders", *parts[:2]), recipe("aeseg.models.heads", *parts[2:])
    if network == "unet":
        encoder.norm = head.norm = "batch"
        encoder.use_bias = head.use_bias = False
    image = (72, 96) if small else (368, 480) if full and network == "unet" else (360, 480)
    window = image if full else (48, 48) if small else (224, 224)
    sized = (spec(Resize, height=72, width=96),) if small else (spec(PadToMultiple, multiple=16),) if image[0] == 368 else ()
    cut = () if full else (spec(RandomCrop, height=window[0], width=window[1]),)
    epochs, batch, decay = number((3 if full else 6) if small else (200 if full else 750)), number(3), number(0.995)
    steps = epochs * TRAINING_IMAGES // batch
    return run_config(
        segmenter_config(head, encoder, 11),
        data_config(
            camvid_splits(), transforms=(*sized, *cut, spec(HorizontalFlip)), evaluation_transforms=sized, threads=2 if small else 8
        ),
        steps=steps,
        batch_size=batch,
        window=window,
        optimiser=spec(
            rmsprop,
            learning_rate=1e-4 if full else 1e-3,
            steps=steps,
            schedule="exponential",
            end=decay**epochs,  # lr decay per epoch
            weight_decay=2e-4,
        ),
        transfer="continue" if full else "fine-tune",
        evaluate_every=steps.get() // (3 if small else 75),
        save_every=steps.get() // (3 if small else 75),
        keep=1,
        given={"epochs": epochs, "decay": decay},
    )
