"""Convert Hugging Face weights to a workdir, and back.

python -m experiments.convert --from=hf --input=vit-mae-base --output=runs/mae     a directory with config.json and model.safetensors
python -m experiments.convert --to=hf --input=runs/segment --output=exported       a directory that transformers' from_pretrained reads

`evaluate`, `predict` and `--init` read a converted model like any run; a converted encoder works only with `--init`.  `evaluate` and
`predict` also need data: --data names the config that reads them.  Pickles are refused; the error shows how to convert them to safetensors.
The field `architectures` of config.json selects the model: see aeseg/importers.
"""

import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from aeseg import tree
from aeseg.importers import families
from aeseg.runs import init
from aeseg.runs import workdir as workdirs
from aeseg.runs.data import SPLITS
from aeseg.runs.run import has_head
from aeseg.training import checkpoints as saved
from aeseg.training.state import TrainState
from aeseg.types import UserError

from .console import cli
from .machine import process


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        **{
            "from": ("", "hf: --input is a Hugging Face directory, or a .safetensors file beside its config.json"),
            "to": ("", "hf: --output becomes a Hugging Face directory"),
        },
        input=("", "path to convert"),
        output=("", "path of the result; must not have weights"),
        data=("", "with --from=hf: config that gives the workdir its data; default segment for a segmenter, else pretrain"),
        step=(-1, "with --to=hf: step of the checkpoint; -1 is the newest"),
    )
    ways = (getattr(flags, "from"), flags.to)
    if ways not in (("hf", ""), ("", "hf")):
        raise UserError(f"Expected --from=hf or --to=hf; got --from={ways[0]!r} --to={ways[1]!r}. Set one of them.")
    if not flags.input or not flags.output:
        raise UserError(f"Expected --input and --output; got {flags.input!r} and {flags.output!r}. Set both.")
    if flags.to:
        return to_foreign(flags.input, flags.output, flags.step)
    return from_foreign(flags.input, flags.output, flags.data)


def from_foreign(path: str, workdir: str, data: str) -> int:
    """Write a workdir with the foreign model as its checkpoint, at step 0 of 0."""
    if os.path.exists(os.path.join(workdir, "checkpoints")):
        raise UserError(f"{workdir} already has checkpoints. Set another --output, or remove it.")
    model = families.load(path)
    is_encoder = families.is_encoder(model.described)
    segments = has_head(model.described)
    config = cli.load_config(data or ("segment" if segments else "pretrain"))
    with config.unlocked():
        config.method = ConfigDict({"encoder": model.described}) if is_encoder else model.described
        config.window, config.steps = model.size, 0
        for fields in (config.data.source, *(config.data[split] for split in SPLITS)):
            if "channels" in fields:
                fields.channels = model.channels
    for note in model.notes:
        print(note)
    workdirs.check_workdir(workdir, config)
    variables = dict(model.variables)
    state = TrainState(jnp.zeros((), jnp.int32), variables.pop("params"), variables, opt_state={}, ema={})
    kept = saved.Checkpoints(os.path.join(workdir, "checkpoints"))
    kept.save(jax.tree.map(jnp.asarray, state), {})
    kept.close()
    print(f"\n{tree.count(state.params):,} parameters of {model.described.target.rpartition(':')[2]} in {workdir}")
    following = f"{process.launcher()}segment --init={workdir}"
    print(
        f"next        {f'{process.launcher()}predict --workdir={workdir} --input=<files> --output=predictions' if segments else following}"
    )
    return 0


def to_foreign(workdir: str, directory: str, step: int) -> int:
    """Write a run's model as a Hugging Face directory: the complete method if a family represents it, else its encoder."""
    config, variables = init.of_workdir(workdir, step)
    for note in families.save(directory, config.method, variables):
        print(note)
    print(f"\nresults     {', '.join(os.path.join(directory, name) for name in sorted(os.listdir(directory)))}", flush=True)
    return 0


if __name__ == "__main__":
    cli.main(run)
