"""Directories of weights as Hugging Face keeps them: config.json beside model.safetensors, whole or in shards.

Safetensors alone: to read a pickle is to run it.  Its library is imported where a file is read, so that a run that reads none
starts without it.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from aeseg.types import UserError

CONFIG, WEIGHTS, INDEX, PREPROCESSOR = "config.json", "model.safetensors", "model.safetensors.index.json", "preprocessor_config.json"

PICKLES = (".bin", ".pth", ".pt", ".pkl", ".ckpt", ".tar")

CONVERSION = (
    'python -c "import torch; from safetensors.torch import save_file; '
    "found = torch.load('{path}', map_location='cpu', weights_only=True); found = found.get('model', found); "
    "save_file({{name: value.contiguous().clone() for name, value in found.items()}}, '{output}', {{'format': 'pt'}})\""
)
"""What makes safetensors of a pickle, where PyTorch is installed."""


def is_foreign(path: str) -> bool:
    """Whether `path` means weights of another library: a file of tensors, or a folder without checkpoints of ours that holds one."""
    if not os.path.isdir(path):
        return path.endswith((".safetensors", *PICKLES))
    names = os.listdir(path)
    if "checkpoints" in names or not names:
        return False
    if any(name.endswith((".safetensors", INDEX, *PICKLES)) for name in names):
        return True
    return CONFIG in names and bool({"model_type", "architectures", "architecture"} & read_json(os.path.join(path, CONFIG), "").keys())


def read(path: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(config, tensors) of a directory, or of one .safetensors file with config.json beside it.

    float16, bfloat16 and float64 tensors come as float32; integers as they are.  Raises UserError for what is absent, is a
    pickle, or cannot be read.
    """
    if not os.path.exists(path):
        raise UserError(f"Expected weights in {path!r}; there is no such file or directory. Name one with {CONFIG} and {WEIGHTS}.")
    directory = path if os.path.isdir(path) else os.path.dirname(path)
    files = _files(path)
    config = read_json(os.path.join(directory, CONFIG), "It says which model the tensors are of; fetch it from where they came.")
    tensors = {name: array for file in files for name, array in _tensors(file).items()}
    if os.path.isdir(path):
        _check_index(path, tensors)
    return config, tensors


def read_json(path: str, remedy: str) -> dict[str, Any]:
    """The object of a JSON file."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        raise UserError(f"Expected {path}; there is none. {remedy}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}). Fetch it again.") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds a {type(found).__name__}, not an object of names and values. Fetch it again.")
    return found


def write(directory: str, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray], preprocessor: Mapping[str, Any]) -> None:
    """Write config.json, model.safetensors and, where there is something to say, preprocessor_config.json.

    Raises UserError where the directory already holds weights.
    """
    from safetensors.numpy import save_file

    path = os.path.join(directory, WEIGHTS)
    if os.path.exists(path):
        raise UserError(f"{path} exists already. Name another --output, or remove it.")
    os.makedirs(directory, exist_ok=True)
    for name, values in ((CONFIG, config), (PREPROCESSOR, preprocessor)):
        if values:
            with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                file.write(json.dumps(values, indent=2, sort_keys=True) + "\n")
    # safetensors writes the memory behind an array, whatever its strides say; "pt" is what transformers asks for
    save_file({name: np.asarray(array, order="C") for name, array in tensors.items()}, path + ".tmp", metadata={"format": "pt"})
    os.replace(path + ".tmp", path)


def _files(path: str) -> list[str]:
    """The safetensors files of a directory, or the one that is named."""
    if not os.path.isdir(path):
        if path.endswith(PICKLES):
            raise _pickle(path, os.path.dirname(path))
        return [path]
    if os.path.exists(os.path.join(path, INDEX)):
        return [os.path.join(path, name) for name in sorted(set(_index(path).values()))]
    names = sorted(name for name in os.listdir(path) if name.endswith(".safetensors"))
    if WEIGHTS in names:
        return [os.path.join(path, WEIGHTS)]
    if len(names) == 1:
        return [os.path.join(path, names[0])]
    pickles = sorted(name for name in os.listdir(path) if name.endswith(PICKLES))
    if pickles and not names:
        raise _pickle(os.path.join(path, pickles[0]), path)
    raise UserError(
        f"Expected {WEIGHTS} in {path!r}; it has {', '.join(names) or 'no safetensors file'}. "
        "Name a directory with that file, or the file itself."
    )


def _tensors(path: str) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return {name: _as_float32(array) for name, array in load_file(path).items()}
    except FileNotFoundError:
        raise UserError(f"{INDEX} names {os.path.basename(path)}; there is no {path}. Fetch that shard, too.") from None
    except (SafetensorError, OSError, KeyError, ValueError, AttributeError) as error:
        raise UserError(f"{path} cannot be read as safetensors ({error}). Fetch the file again.") from error


def _as_float32(array: np.ndarray) -> np.ndarray:
    narrow = array.dtype.name in ("float16", "bfloat16", "float64")
    return array.astype(np.float32) if narrow else array


def _index(directory: str) -> dict[str, str]:
    """{tensor: file} of a sharded model."""
    path = os.path.join(directory, INDEX)
    places = read_json(path, "").get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) and os.path.basename(name) == name for name in places.values()):
        raise UserError(f"{path} needs a weight_map of tensors and the files beside it. Fetch it again.")
    return places


def _check_index(directory: str, tensors: Mapping[str, np.ndarray]) -> None:
    if os.path.exists(os.path.join(directory, INDEX)):
        absent = sorted(_index(directory).keys() - tensors.keys())
        if absent:
            raise UserError(
                f"{INDEX} of {directory} names {absent[0]} (and {len(absent) - 1} more), which no shard holds. Fetch them again."
            )


def _pickle(path: str, directory: str) -> UserError:
    output = os.path.join(directory, WEIGHTS)
    return UserError(
        f"{path} is a pickle, and to read one is to run it; aeseg reads safetensors only. Where PyTorch is installed, this makes one:\n"
        + CONVERSION.format(path=path, output=output)
    )
