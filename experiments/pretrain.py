"""Pretrain an autoencoder on unlabelled images.

python -m experiments.pretrain                                        generated scenes, about three minutes on two cores
python -m experiments.pretrain --config=camvid_small --workdir=runs/x  another config file (experiments/configs/*.py)
python -m experiments.pretrain --config.optimiser.learning_rate=3e-4   any field of the config
python -m experiments.pretrain --config=pretrain:masked --init=vit-mae  warm start from another run or a Hugging Face directory
python -m experiments.pretrain --config=pretrain:maskgit --init=runs/scenes-quantised  a prior over the codes of a quantised autoencoder
"""

import shlex
from collections.abc import Sequence

import jax

from aeseg import spec
from aeseg.runs import init, prior
from aeseg.runs.run import check_command
from aeseg.runs.train import report, train

from .console import cli
from .machine import process


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        config="pretrain",
        workdir=("", "folder of the run; default runs/<config>"),
        minutes=(0.0, "minutes of training, after which the run saves and stops; 0: no limit"),
        data=("", "data description that `inspect` wrote, or a source of aeseg/data/sources (arrays); replaces the config's data"),
        init=(
            "",
            "initial weights of the encoder, and of the decoder if the method is the same: a workdir or a Hugging Face directory; of "
            "maskgit: the workdir of the quantised autoencoder",
        ),
    )
    check_command(flags.config, "pretrain")
    process.start(trains=True)
    if prior.is_prior(flags.config):
        weights = prior.weights(flags.config, flags.init)
    else:
        weights = init.weights(flags.config, flags.overrides, flags.init, "what fits") if flags.init else None
    pretraining = spec.build(flags.config)
    workdir = flags.workdir or f"runs/{cli.run_name(flags.config_name)}"
    outcome = train(pretraining, workdir, weights, minutes=flags.minutes)
    if jax.process_index() == 0:
        if prior.is_prior(flags.config):
            following = shlex.join(["generate", f"--workdir={workdir}"])
        elif " " in pretraining.next:
            following = f"{pretraining.next} {shlex.join([f'--init={workdir}'])}"
        else:
            following = shlex.join(["segment", f"--config={pretraining.next or 'segment'}", *cli.data_flags(flags), f"--init={workdir}"])
        print(report(pretraining, workdir, outcome, f"{process.launcher()}{following}"), flush=True)
    return 128 + outcome.signal if outcome.signal else 0


if __name__ == "__main__":
    cli.main(run, trains=True)
