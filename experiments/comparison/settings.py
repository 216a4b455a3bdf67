"""Configs of a comparison's runs.  `segment` and `pretrain` also accept them."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from aeseg import spec
from aeseg.data.transforms import HorizontalFlip, RandomCrop, RandomScale
from aeseg.runs import configs
from aeseg.runs.configs import run_config, segmenter_config, warm_adamw
from aeseg.runs.data import SPLITS, Data
from aeseg.spec import recipe

from .arms import Arm
from .data import Images

PRETRAINING_RATE = 1e-3
"""Learning rate of every pretraining."""


def segmentation(
    images: Images, arm: Arm, window: tuple[int, int], batch: int, steps: int, rate: float, labels: int, seed: int
) -> ConfigDict:
    """Return the config of a segmentation with `labels` labelled images: a U-Net head on the arm's encoder, random scales and flips."""
    classes = len(images.classes)
    method = segmenter_config(recipe(configs.HEADS, "unet"), _on(window, arm.node), classes)
    fraction = min(1.0, labels / len(images.train))
    return run_config(
        method,
        _data(images.description, window, fraction),
        steps=steps,
        batch_size=batch,
        window=window,
        seed=seed,
        optimiser=warm_adamw(rate, steps),
        transfer="fine-tune" if arm.pretraining or arm.public else "scratch",
        **_paced(steps),
    )


def pretraining(images: Images, arm: Arm, window: tuple[int, int], batch: int, steps: int) -> ConfigDict:
    """Return the config of an arm's pretraining, which reads no labels."""
    method = arm.pretraining.copy_and_resolve_references()
    method.encoder = _on(window, method.encoder)
    quarter = -(-steps // 4)
    paced = {**_paced(steps), "evaluate_every": quarter, "save_every": quarter}
    data, optimiser = _data(images.bare, window, 1.0), warm_adamw(PRETRAINING_RATE, steps)
    return run_config(method, data, steps=steps, batch_size=batch, window=window, optimiser=optimiser, next="folder:unet", **paced)


def _paced(steps: int) -> dict[str, int]:
    return {"log_every": max(1, steps // 10), "evaluate_every": steps, "save_every": steps, "keep": 1}


def _on(window: tuple[int, int], node: ConfigDict) -> ConfigDict:
    """Return the encoder's config with learned positions for the window."""
    node = node.copy_and_resolve_references()
    if node.get("positions") == "learned":
        node.grid = tuple(side // node.patch for side in window)
    return node


def _data(description: Mapping[str, Any], window: tuple[int, int], fraction: float) -> ConfigDict:
    height, width = window
    fields = spec.from_json(spec.to_json(ConfigDict({name: description[name] for name in ("source", *SPLITS)})))
    transforms = (spec.spec(RandomScale, low=0.8, high=1.25), spec.spec(RandomCrop, height=height, width=width), spec.spec(HorizontalFlip))
    return spec.spec(Data, **fields, transforms=transforms, fraction=fraction)
