"""Read and write Hugging Face directories: config.json with model.safetensors, in one file or in shards.

Only safetensors is supported, because reading a pickle can run code. The safetensors library is imported when a file is read, to
keep other runs fast to start.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from aeseg import files
from aeseg.types import UserError

CONFIG, WEIGHTS, INDEX, PREPROCESSOR = "config.json", "model.safetensors", "model.safetensors.index.json", "preprocessor_config.json"

PICKLES = (".bin", ".pth", ".pt", ".pkl", ".ckpt", ".tar")

CONVERSION = (
    'python -c "import torch; from safetensors.torch import save_file; '
    "state = torch.load('{path}', map_location='cpu', weights_only=True); state = state.get('model', state); "
    "save_file({{name: value.contiguous().clone() for name, value in state.items()}}, '{output}', {{'format': 'pt'}})\""
)
"""Command that converts a pickle to safetensors; it needs PyTorch."""


def is_foreign(path: str) -> bool:
    """Return whether `path` holds weights of another library: a file of tensors, or a folder with one but without our checkpoints."""
    if not os.path.isdir(path):
        return path.endswith((".safetensors", *PICKLES))
    names = os.listdir(path)
    if "checkpoints" in names or not names:
        return False
    if any(name.endswith((".safetensors", INDEX, *PICKLES)) for name in names):
        return True
    return CONFIG in names and bool({"model_type", "architectures", "architecture"} & read_json(os.path.join(path, CONFIG), "").keys())


def read(path: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read (config, tensors) from a directory, or from a .safetensors file next to config.json.

    float16, bfloat16 and float64 tensors are converted to float32; integers are kept. Raises UserError if a file is missing, is
    a pickle, or cannot be read.
    """
    if not os.path.exists(path):
        raise UserError(f"Expected weights in {path!r}; there is no such file or directory. Name a directory with {CONFIG} and {WEIGHTS}.")
    directory = path if os.path.isdir(path) else os.path.dirname(path)
    paths = _files(path)
    config = read_json(os.path.join(directory, CONFIG), "It names the model of the tensors; download it from the source of the weights.")
    tensors = {name: array for file in paths for name, array in _tensors(file).items()}
    if os.path.isdir(path):
        _check_index(path, tensors)
    return config, tensors


def read_json(path: str, remedy: str) -> dict[str, Any]:
    """Read the object of a JSON file; `remedy` ends the error if the file is missing."""
    try:
        return files.read_json(path, "Download it again.")
    except FileNotFoundError:
        raise UserError(f"Expected {path}; it does not exist. {remedy}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}). Download it again.") from error


def write(directory: str, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray], preprocessor: Mapping[str, Any]) -> None:
    """Write config.json, model.safetensors and, unless it is empty, preprocessor_config.json.

    Raises UserError if the directory already holds weights.
    """
    from safetensors.numpy import save_file

    path = os.path.join(directory, WEIGHTS)
    if os.path.exists(path):
        raise UserError(f"{path} exists already. Name another --output, or remove it.")
    for name, values in ((CONFIG, config), (PREPROCESSOR, preprocessor)):
        if values:
            files.write(os.path.join(directory, name), json.dumps(values, indent=2, sort_keys=True) + "\n")
    with files.replacing(path) as temporary:
        # safetensors ignores strides and writes the memory of an array as it is; transformers requires "pt"
        save_file({name: np.asarray(array, order="C") for name, array in tensors.items()}, temporary, metadata={"format": "pt"})


def _files(path: str) -> list[str]:
    """Return the safetensors files of a directory, or the file itself."""
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
        raise UserError(f"{INDEX} names {os.path.basename(path)}; {path} does not exist. Download that shard, too.") from None
    except (SafetensorError, OSError, KeyError, ValueError, AttributeError) as error:
        raise UserError(f"{path} cannot be read as safetensors ({error}). Download the file again.") from error


def _as_float32(array: np.ndarray) -> np.ndarray:
    narrow = array.dtype.name in ("float16", "bfloat16", "float64")
    return array.astype(np.float32) if narrow else array


def _index(directory: str) -> dict[str, str]:
    """Return {tensor: file} of a sharded model."""
    path = os.path.join(directory, INDEX)
    file_of = read_json(path, "").get("weight_map")
    if not isinstance(file_of, dict) or not all(isinstance(name, str) and os.path.basename(name) == name for name in file_of.values()):
        raise UserError(f"{path} needs a weight_map of tensors and the files beside it. Download it again.")
    return file_of


def _check_index(directory: str, tensors: Mapping[str, np.ndarray]) -> None:
    if os.path.exists(os.path.join(directory, INDEX)):
        absent = sorted(_index(directory).keys() - tensors.keys())
        if absent:
            raise UserError(
                f"{INDEX} of {directory} names {absent[0]} (and {len(absent) - 1} more), which no shard holds. Download the shards again."
            )


def _pickle(path: str, directory: str) -> UserError:
    output = os.path.join(directory, WEIGHTS)
    return UserError(
        f"{path} is a pickle, which can run code; aeseg reads safetensors only. With PyTorch installed, this command converts it:\n"
        + CONVERSION.format(path=path, output=output)
    )
