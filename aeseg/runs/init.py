"""Initial weights of a run (`--init`), from a workdir or a Hugging Face directory.

All of the encoder's weights are loaded, or an error is raised.  Pretraining also loads other parts of the same method if they fit;
parts that do not fit keep their initial values, and a message names each with the reason.  A segmenter that continues is loaded
completely.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from aeseg import positions, spec, tree
from aeseg.importers import adapt, families, files
from aeseg.runs import transfer
from aeseg.runs.example import image_channels
from aeseg.runs.run import is_segmenter
from aeseg.runs.train import Init
from aeseg.runs.workdir import stored_config
from aeseg.training import checkpoints as saved
from aeseg.training import state as states
from aeseg.training.state import TrainState
from aeseg.types import UserError

TOKEN = "mask_token"
"""The only parameter of an encoder that depends on how it is trained."""


def weights(config: ConfigDict, overrides: Mapping[str, Any], path: str, taken: str) -> Init:
    """Set the config's encoder to the encoder of `path`; return a function that loads its weights, and others by `taken`, into a state.

    taken   "encoder": only the encoder; "decoder": also a U-Net decoder, except its last layer, into a segmenter's U-Net head, or
            UserError; "what fits": also each other part of the same method that fits; "all": the complete method, or UserError

    Raises UserError if the command line describes another encoder than the workdir's, since the weights would not fit it.
    From foreign weights, the config also gets the decoder if the method is the same.  The command line overrides both parts (patch,
    grid), and the weights are adapted.
    The run keeps its dtype and the fields that an encoder lists as `adjustable`.  With "all", another method, head or neck raises a
    UserError; the run keeps its window, loss and optimiser.  If `position_tables` asks for it, a segmenter gets the fixed positions of a
    workdir's encoder as parameters: the table of that workdir's window.
    """
    if config.method.target == "aeseg.methods.vote:Vote":
        raise UserError(f"Vote has an encoder for each modality, and {path} holds one. Leave out --init.")
    foreign = files.is_foreign(path)
    if foreign:
        model = families.load(path)
        given, donor, notes = model.described, model.variables, list(model.notes)
        encoder = given if families.is_encoder(given) else given.encoder
    else:
        stored, donor = of_workdir(path)
        if "encoder" not in stored.method:
            raise UserError(
                f"{path} trains {stored.method.target.rpartition(':')[2]}, which has no encoder. Name its autoencoder's workdir."
            )
        given, encoder, notes = stored.method, stored.method.encoder, []
        _refuse_another_encoder(encoder, config.method.encoder, overrides, path)
    if taken == "all":
        _refuse_another_model(given, config.method, path)
    if "modalities" in config.method and "modalities" in given:
        notes += _with_modalities(config, given)
    if taken == "decoder":
        donor = _with_head(donor, given, config.method, path)
    else:
        taken = taken if given.get("target") == config.method.target else "encoder"
    parts = {
        "encoder": encoder,
        **({"decoder": given.decoder} if foreign and taken in ("what fits", "all") and "decoder" in given else {}),
    }
    grids = {part: tuple(node.grid) for part, node in parts.items() if "grid" in node}
    channels = image_channels(config)
    for part, node in parts.items():
        before = node.copy_and_resolve_references()
        _follow(node, config.method[part], part, overrides, path)
        if foreign:
            _fit(node, parts["encoder"], tuple(config.window), channels)
        notes += spec.differences(before, node, f"config.method.{part}")
        with config.unlocked():
            config.method[part] = node
    if (
        not foreign
        and taken in ("encoder", "decoder")
        and is_segmenter(config)
        and transfer.train_positions(config, encoder := config.method.encoder)
    ):
        grids["encoder"] = height, width = tuple(side // encoder.patch for side in stored.window)
        donor = _with_table(donor, encoder, (height, width))
        notes.append(f"The fixed positions of {height} x {width} patches are parameters now (--config.position_tables).")
    grids = {part: (old, tuple(config.method[part].grid)) for part, old in grids.items()}

    def init(state: TrainState) -> tuple[TrainState, list[str]]:
        started, lines = with_weights(state, donor, taken, grids)
        return started, [*notes, *lines]

    return init


def with_weights(state: TrainState, donor: Mapping[str, Any], taken: str, grids: adapt.Grids | None = None) -> tuple[TrainState, list[str]]:
    """Return the state with the donor's weights that `taken` selects (see `weights`), and a line for each step.

    `grids`: see `adapt.adapted`.  The running means start from the same weights.
    """
    variables = {"params": state.params, **state.collections}
    given, lines = adapt.adapted({name: leaves for name, leaves in donor.items() if name in variables}, variables, grids or {})
    encoder, messages = _with_token(given["params"]["encoder"], state.params["encoder"])
    given = {**given, "params": {**given["params"], "encoder": encoder}}
    started, paths = saved.graft(variables, given)
    lines += messages
    lines.append(f"Took {len(paths)} arrays ({tree.count(given['params']['encoder']):,} numbers) of the encoder from the checkpoint.")
    others = {part for leaves in variables.values() for part in leaves} - {"encoder"}
    if taken not in ("what fits", "all"):
        others = {part for part in others if part.startswith("adapters_")}  # they belong to an encoder of several modalities
    if taken == "decoder":
        blocks = tuple(f"head/{block}/*" for block in given["params"]["head"])
        started, paths = saved.graft(started, given, blocks)
        lines.append(f"Took {len(paths)} arrays of the decoder into the head; its last layer keeps its initial values.")
    for part in sorted(others):
        try:
            started, paths = saved.graft(started, given, (part, f"{part}/*"))
            lines.append(f"Took {len(paths)} arrays of the {part}, too.")
        except UserError as error:
            if taken == "all":
                raise
            lines.append(f"The {part} keeps its initial values. " + "\n".join(str(error).splitlines()[:-1]))
    placed = jax.tree.map(lambda leaf, old: jax.device_put(leaf, old.sharding), started, variables)
    params = placed.pop("params")
    ema = jax.tree.map(lambda leaf: leaf.copy(), states.averaged(params, placed)) if state.ema else {}
    return state.replace(params=params, collections=placed, ema=ema), lines


def _with_modalities(config: ConfigDict, given: ConfigDict) -> list[str]:
    """Describe the config's modalities as the donor's of the same keys; return a line for each change."""
    theirs = {spec.build(node).key: node for node in given.modalities}
    taken = tuple(theirs.get(spec.build(node).key, node) for node in config.method.modalities)
    lines = spec.differences(spec.plain(config.method.modalities), spec.plain(taken), "config.method.modalities")
    config.method.modalities = taken
    return lines


def _with_head(donor: Mapping[str, Any], saved_spec: ConfigDict, wanted: ConfigDict, path: str) -> dict[str, Any]:
    """Return the donor with its U-Net decoder, except the last layer, as a head; UserError unless both are U-Nets."""
    decoder, head = saved_spec.get("decoder", {}).get("target", "no decoder"), wanted.get("head", {}).get("target", "no head")
    if not decoder.endswith(".unet:UNetDecoder") or not head.endswith(".unet:UNetHead"):
        raise UserError(
            f"Expected a U-Net decoder to become a U-Net head; {path} has {decoder}, and the run has {head}. Pretrain with a decoder of "
            "aeseg/models/decoders/unet.py and segment with the head unet, or take only the encoder with --config.transfer=fine-tune."
        )
    heads = {
        name: {block: leaf for block, leaf in leaves["decoder"]["path"].items() if not block.startswith("logits")}
        for name, leaves in donor.items()
        if "decoder" in leaves
    }
    return {name: {**leaves, **({"head": heads[name]} if name in heads else {})} for name, leaves in donor.items()}


def _with_table(donor: Mapping[str, Any], node: ConfigDict, grid: tuple[int, int]) -> dict[str, Any]:
    """Return the donor with the sine-cosine table of its grid as a parameter of the encoder."""
    table = positions.sine_cosine(*grid, node.width, int(node.has_class_token))
    params = donor["params"]
    return {**donor, "params": {**params, "encoder": {**params["encoder"], "position_table": table}}}


def of_workdir(path: str, step: int = -1) -> tuple[ConfigDict, dict[str, Any]]:
    """Return (config, variables) of a workdir, or of its checkpoints folder."""
    workdir = os.path.dirname(os.path.abspath(path)) if os.path.basename(os.path.normpath(path)) == "checkpoints" else path
    config = stored_config(workdir)
    last, variables = saved.load_variables(os.path.join(workdir, "checkpoints"), step)
    if last < config.steps:
        print(f"Note: {workdir} stopped at step {last} of {config.steps}.", file=sys.stderr)
    return config, variables


def _with_token(given: Mapping[str, Any], initial: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a donor's encoder with a `mask_token` (for hidden patches) exactly if `initial` has one, and a line if that differs."""
    rest = {name: leaves for name, leaves in given.items() if name != TOKEN}
    if TOKEN in given and TOKEN not in initial:
        return rest, [f"Left out the encoder's {TOKEN}: this run hides nothing from it."]
    if TOKEN in initial and TOKEN not in given:
        return {**rest, TOKEN: initial[TOKEN]}, [f"The encoder's {TOKEN} keeps its initial value: the checkpoint has none."]
    return dict(given), []


def _refuse_another_model(saved_spec: ConfigDict, wanted: ConfigDict, path: str) -> None:
    """Raise UserError if `saved_spec` is another method than `wanted`, or has another head or neck."""
    if saved_spec.get("target") != wanted.target:
        raise UserError(
            f"Expected a complete model to continue, {wanted.target}; {path} holds {saved_spec.get('target', 'only an encoder')}. "
            "Name a workdir of `segment`, or take only the encoder with --config.transfer=fine-tune."
        )
    lines = _unlike(saved_spec.head, wanted.head, "config.method.head")
    necks = saved_spec.get("neck", ()), wanted.get("neck", ())
    if len(necks[0]) != len(necks[1]):
        lines.append(f"config.method.neck: {len(necks[0])} parts -> {len(necks[1])}")
    for number, (old, new) in enumerate(zip(*necks, strict=False)):
        lines += _unlike(old, new, f"config.method.neck[{number}]")
    if lines:
        raise UserError(
            f"Expected a model like this run's to continue; the model of {path} differs:\n  " + "\n  ".join(lines) + "\n"
            "Give the run this head and neck, or take only the encoder with --config.transfer=fine-tune."
        )


def _unlike(saved_spec: Any, wanted: Any, where: str) -> list[str]:
    """Return a line for each field in which two configs of a part differ, except adjustable fields."""
    free = tuple(f"{where}.{name}:" for name in _adjustable(saved_spec))
    return [line for line in spec.differences(saved_spec, wanted, where) if not line.startswith(free)]


def _refuse_another_encoder(encoder: ConfigDict, node: ConfigDict, overrides: Mapping[str, Any], path: str) -> None:
    lines = _unlike(encoder, node, "config.method.encoder")
    asked = [name for name in overrides if name.startswith("method.encoder") and name.split(".")[2] not in _adjustable(encoder)]
    if asked and lines:
        raise UserError(
            f"The encoder of {path} differs from the encoder that the command line describes:\n  " + "\n  ".join(lines) + "\n"
            f"Leave out {', '.join(f'--config.{name}' for name in asked)}: the run uses the encoder of --init unchanged."
        )


def _follow(node: ConfigDict, of_run: ConfigDict, part: str, overrides: Mapping[str, Any], path: str) -> None:
    """Override fields in the description of the weights: the adjustable fields by the run's, and fields of the command line."""
    asked = {name.removeprefix(f"method.{part}."): value for name, value in overrides.items() if name.startswith(f"method.{part}.")}
    alike = node.target == of_run.target
    if asked.keys() - {"dtype"} and not alike:
        raise UserError(
            f"{path} holds {node.target}; the command line describes {of_run.target}. "
            f"Leave out {', '.join(f'--config.method.{part}.{name}' for name in asked)}, or name a config with that {part}."
        )
    for name in (*_adjustable(node), "channels") if alike else ("dtype",):
        if name in node and name in of_run:
            node[name] = of_run[name]
    if alike:
        node.update_from_flattened_dict(asked)


def _adjustable(node: Any) -> tuple[str, ...]:
    """Return the fields that another use of the same weights may change: dtype, and the class's `adjustable`."""
    return ("dtype", *getattr(type(spec.build(node)), "adjustable", ()))


def _fit(node: ConfigDict, encoder: ConfigDict, window: tuple[int, int], channels: int) -> None:
    """Adapt a part's description to the run's images: the grid of learned positions, and mean and std if the channels differ."""
    if node.get("positions") == "learned" and not any(side % encoder.patch for side in window):
        node.grid = tuple(side // encoder.patch for side in window)
    if {"mean", "std"} <= set(node) and not {len(node.mean), len(node.std)} <= {1, channels}:
        node.mean, node.std = ((sum(values) / len(values),) for values in (node.mean, node.std))
