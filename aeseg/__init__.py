"""How much does pretraining an autoencoder on unlabelled images improve a segmentation model?  JAX and Flax.

`Run`, `Data`, `spec`, `train` and `predict` are the Python interface; README.md shows it in ten lines.
"""

import importlib
from typing import Any

_INTERFACE = {
    "Run": "aeseg.runs.run",
    "Data": "aeseg.runs.data",
    "train": "aeseg.runs.train",
    "predict": "aeseg.runs.predict",
}


def __getattr__(name: str) -> Any:
    """Import a name of the interface when it is first used: importing a module of aeseg loads only what that module needs."""
    if name not in _INTERFACE:
        raise AttributeError(f"module 'aeseg' has no attribute {name!r}")
    return getattr(importlib.import_module(_INTERFACE[name]), name)
