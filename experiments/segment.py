"""Train a segmentation model, from a pretrained encoder or from scratch.

python -m experiments.segment --init=runs/pretrain                              fine-tune the encoder of `pretrain`
python -m experiments.segment --init=runs/pretrain --config.transfer=linear-probe  train the head on the frozen encoder
python -m experiments.segment --init=runs/pretrain --config.transfer=scratch       only its architecture: the control
python -m experiments.segment --init=runs/segment --config.transfer=continue       second stage: all weights, new optimiser state
python -m experiments.segment --init=runs/probe --config.transfer=continue         after a linear probe: LP-FT
python -m experiments.segment --init=runs/unet --config.transfer=fine-tune-decoder  also load a pretrained U-Net decoder as the head
python -m experiments.segment --init=vit-mae-base                               a Hugging Face directory: config.json, model.safetensors
python -m experiments.segment --config=camvid_small:unet                         another config file, from scratch
"""

from collections.abc import Sequence

import jax

from aeseg import spec
from aeseg.runs import init, transfer
from aeseg.runs.run import check_command
from aeseg.runs.train import report, train

from .console import cli
from .machine import process


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        config="segment",
        workdir=("", "folder of the run; default runs/<config>"),
        minutes=(0.0, "minutes of training, after which the run saves and stops; 0: no limit"),
        data=("", "data description that `inspect` wrote, or a source of aeseg/data/sources (arrays); replaces the config's data"),
        init=(
            "",
            "initial weights of the encoder (transfer=continue: all weights): a workdir, its checkpoints, or a Hugging Face directory",
        ),
    )
    check_command(flags.config, "segment")
    process.start(trains=True)
    config = flags.config
    weights = init.weights(config, flags.overrides, flags.init, transfer.taken(config.transfer)) if flags.init else None
    weights = transfer.chosen(config, weights)
    for line in transfer.check_labels(config):
        print(line)
    segmentation = spec.build(config)
    workdir = flags.workdir or f"runs/{cli.run_name(flags.config_name)}"
    outcome = train(segmentation, workdir, weights, minutes=flags.minutes)
    if jax.process_index() == 0:
        print(report(segmentation, workdir, outcome, f"{process.launcher()}evaluate --workdir={workdir} --split=test"), flush=True)
    return 128 + outcome.signal if outcome.signal else 0


if __name__ == "__main__":
    cli.main(run, trains=True)
