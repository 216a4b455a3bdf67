"""Start of a prior over codes: the trained autoencoder whose codes it models, which its own workdir then holds."""

import jax
from ml_collections import ConfigDict

from aeseg.importers import files
from aeseg.runs import init
from aeseg.runs.train import Init
from aeseg.training import checkpoints as saved
from aeseg.training.state import TrainState
from aeseg.types import UserError

FIELD = "autoencoder"
"""The field of a prior's method that describes its autoencoder, and the collection with the autoencoder's weights."""


def is_prior(config: ConfigDict) -> bool:
    """Return whether a config trains a prior over the codes of an autoencoder."""
    return FIELD in config.method


def weights(config: ConfigDict, path: str) -> Init:
    """Set the config's autoencoder to the one of a workdir; return a function that loads its weights into a state.

    Raises UserError without a workdir of the same method.
    """
    wanted = config.method[FIELD].target
    expected = f"Expected the workdir of a trained {wanted.rpartition(':')[2]}, whose codes the prior models"
    if not path:
        raise UserError(f"{expected}; got none. Pretrain one (pretrain --config=scenes:quantised), and set --init=<its workdir>.")
    if files.is_foreign(path):
        raise UserError(f"{expected}; {path} holds weights of another library. Set --init=<workdir of pretrain>.")
    stored, variables = init.of_workdir(path)
    if stored.method.get("target") != wanted:
        raise UserError(f"{expected}; {path} holds {stored.method.get('target', 'an encoder alone')}. Set --init to such a workdir.")
    with config.unlocked():
        config.method[FIELD] = stored.method

    def start(state: TrainState) -> tuple[TrainState, list[str]]:
        ((name, fresh),) = state.collections[FIELD].items()
        saved.check_fit(fresh["weights"], variables, f"The images of this run and of {path} differ in their channels. Use the same data.")
        placed = jax.tree.map(lambda leaf, old: jax.device_put(leaf, old.sharding), variables, fresh["weights"])
        collections = {**state.collections, FIELD: {name: {"weights": placed}}}
        return state.replace(collections=collections), [f"Took the autoencoder of {path}, which stays as it is."]

    return start
