"""`Run`, the complete description of one training run.  A config is `spec(Run, ...)`."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from aeseg import checks, spec, tree
from aeseg.data.loader import Loader
from aeseg.runs.data import Data
from aeseg.runs.example import config_example
from aeseg.training import mesh as meshes
from aeseg.training import state as states
from aeseg.training.nonfinite import Policy
from aeseg.types import Class, UserError

DTYPES = ("float32", "bfloat16")
"""Dtypes of activations; float16 would need loss scaling, which the train step lacks."""

TRANSFERS = ("fine-tune", "fine-tune-decoder", "linear-probe", "scratch", "continue")
"""Uses of pretrained weights in a segmenter."""

STATISTICS = ("re-estimated", "pretrained")
"""Batch norm averages of a frozen encoder."""

POSITION_TABLES = ("trained", "kept")
"""Uses of the fixed positions of a pretrained vision transformer in a segmenter."""

SCORES = ("mean_iou", "pixel_accuracy", "class_accuracy", "mean_dice")
"""Metrics of a segmenter during training."""

LARGER_IS_BETTER = (*SCORES, "psnr", "ssim")
"""Metrics for which larger is better; all others are losses and errors."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run, for `train(run, workdir)` (aeseg/runs/train.py).

    method       an autoencoder or a `Segmenter`
    data         images, and labels for a segmenter
    optimiser    a function's result in aeseg/training/optimiser.py
    steps        optimiser steps
    batch_size   images per step, over all devices
    window       height and width of the images that the network trains on
    seed         of initialisation, data order, augmentation and drawn labels
    microbatches   number of parts of a batch that are computed one after another, to save memory
    fsdp         devices that share parameters and optimiser state
    ema          decay of the running means of parameters and batch statistics, which are then scored; 0 keeps none
    dtype        dtype of activations; configs tie every part of the method to it
    nonfinite    "stop" ends the run at a step whose loss or gradient is not finite; "skip" skips the step
    nonfinite_in_a_row   number of skipped steps in a row that also ends the run
    enlarge      score and predict larger images in windows larger than the trained window (aeseg/inference/sliding.py): much faster;
                 for convolutional networks
    transfer     segmenters only: "fine-tune" trains the pretrained encoder, "fine-tune-decoder" also takes a pretrained U-Net decoder into
                 the head (Brempong et al. 2022, arXiv 2205.11423, section 3), "linear-probe" freezes the encoder, "scratch" ignores its
                 weights (the control), "continue" continues a complete segmenter: after a linear probe this is LP-FT (Kumar et al.
                 2022, arXiv 2202.10054); `optimiser.thaw` is its form in one run
    statistics   frozen encoders only, also random ones: "re-estimated" computes batch norm averages over training images before the
                 first step, since pretraining computed them on masked or noisy images; "pretrained" keeps them, and a random encoder's
                 averages move with each batch
    position_tables   segmenters with a vision transformer with fixed positions only: "trained" makes the pretraining's table a
                 parameter, resized to the window (bicubic), as in MAE's fine-tuning (He et al. 2022, code: models_vit.py,
                 interpolate_pos_embed), and a network from scratch starts from the window's table; "kept" computes fixed positions
    class_weights   segmenters only: "none", "median_frequency", "inverse_square_root" or "segnet"
    log_every, evaluate_every, save_every   in steps
    keep, keep_every   keep the last `keep` checkpoints, and those at a multiple of `keep_every`
    best         validation metric whose best checkpoint is also kept; "" is the method's own metric
    next         config that the printed next command names, or another command with flags (`restore --task=denoise`)
    given        numbers from which other fields were computed, such as epochs; not read
    """

    method: nn.Module
    data: Data
    optimiser: Any
    steps: int
    batch_size: int
    window: tuple[int, int]
    seed: int = 0
    microbatches: int = 1
    fsdp: int = 1
    ema: float = 0.0
    dtype: str = "float32"
    nonfinite: str = "stop"
    nonfinite_in_a_row: int = 10
    enlarge: bool = False
    transfer: str = "fine-tune"
    statistics: str = "re-estimated"
    position_tables: str = "trained"
    class_weights: str = "none"
    log_every: int = 50
    evaluate_every: int = 500
    save_every: int = 500
    keep: int = 2
    keep_every: int = 0
    best: str = ""
    next: str = ""
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "microbatches", "fsdp", "log_every", "evaluate_every", "save_every", "keep"):
            if getattr(self, name) < (0 if name == "steps" else 1):
                raise UserError(f"{name} must be at least 1; got {getattr(self, name)}. Set --config.{name}.")
        if len(self.window) != 2 or min(self.window) < 1:
            raise UserError(f"window is the height and width that the network is trained at; got {self.window}. Set --config.window=(h,w).")
        if not 0 <= self.ema < 1:
            raise UserError(f"ema is the decay of the running mean, from 0 (none) to below 1; got {self.ema}. Set --config.ema.")
        _ = self.policy
        if self.transfer not in TRANSFERS:
            raise UserError(f"transfer must be one of {', '.join(TRANSFERS)}; got {self.transfer!r}. Set --config.transfer.")
        if self.best and self.segments and self.best not in SCORES:
            raise UserError(f"best must be one of {', '.join(SCORES)}; got {self.best!r}. Set --config.best.")
        for name, known in (("statistics", STATISTICS), ("position_tables", POSITION_TABLES)):
            if getattr(self, name) not in known:
                raise UserError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}. Set --config.{name}.")
        for path, dtype in tree.flatten(spec.plain(spec.describe(self.method))).items():
            field = "config.method." + path.replace("/", ".")
            if field.endswith(".dtype") and dtype not in DTYPES:
                raise UserError(f"A dtype is one of {', '.join(DTYPES)}; {field} is {dtype!r}. Set --{field}.")

    @cached_property
    def config(self) -> ConfigDict:
        """Return the description that builds this run: the contents of config.json."""
        return spec.describe(self)

    @property
    def segments(self) -> bool:
        """Return whether the run trains a segmenter; otherwise it pretrains an autoencoder."""
        return hasattr(self.method, "predict")

    @property
    def metric(self) -> str:
        """Return the validation metric that compares checkpoints and trials."""
        return self.best or ("mean_iou" if self.segments else "loss")

    @property
    def largest_window(self) -> int:
        """Return the pixels of the largest sliding window, or 0 for `window`: at most 1024 x 1024, or four times the pixels that a
        training step holds at a time, with gradients."""
        return min(2**20, 4 * self.batch_size // self.microbatches * math.prod(self.window)) if self.enlarge else 0

    @property
    def policy(self) -> Policy:
        """Return the policy for steps that are not finite."""
        return Policy(self.nonfinite, self.nonfinite_in_a_row, lambda step: self.loader.names(step))

    @cached_property
    def mesh(self) -> jax.sharding.Mesh:
        """Return the mesh of all devices."""
        mesh = meshes.create(self.fsdp)
        meshes.check_batch(mesh, self.batch_size, self.microbatches)
        return mesh

    @cached_property
    def training(self) -> Any:
        """Return the training records."""
        return self.data.training(self.seed)

    @cached_property
    def validation(self) -> Any:
        """Return the validation records."""
        return self.data.scored("validation")

    @property
    def classes(self) -> tuple[Class, ...]:
        """Return the classes of the data; () for images without labels."""
        return self.validation.classes

    @cached_property
    def loader(self) -> Loader:
        """Return the loader of this process's rows of every training batch."""
        return Loader(
            self.training,
            self.data.transforms,
            self.batch_size,
            self.seed,
            threads=self.data.threads,
            workers=self.data.workers,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def with_records(self, training: Any, validation: Any) -> "Run":
        """Return the run with records that another run has read: sources that `data` describes, or a part of them for validation."""
        run = dataclasses.replace(self)
        vars(run).update(training=training, validation=validation)
        return run

    def batches(self, start: int) -> Iterator[Mapping[str, np.ndarray]]:
        """Yield this process's rows of the batches start, start + 1, ..."""
        return self.loader.batches(start)

    @cached_property
    def first_row(self) -> dict[str, np.ndarray]:
        """Return a row of zeros in the shapes of the first batch, which is read once."""
        return {name: np.zeros((1, *array.shape[1:]), array.dtype) for name, array in self.loader[0].items()}

    @cached_property
    def start(self) -> Callable[[], states.TrainState]:
        """Return the function that makes the initial state; it is one object, which JAX traces once."""
        return lambda: states.initial(self.method, self.optimiser, self.first_row, self.seed, self.ema > 0)

    def check(self) -> None:
        """Read the first batch and trace the network with shapes only, to raise errors before computing."""
        if self.steps < 1:
            raise UserError(f"steps must be at least 1; got {self.steps}. Set --config.steps.")
        _ = self.mesh, self.validation
        state = jax.eval_shape(self.start)
        images = 4 * self.batch_size // self.microbatches * math.prod(self.first_row["image"].shape[1:])
        needed = checks.state_bytes(state) + images
        checks.check_memory(
            needed,
            f"A {type(self.method).__name__} with a batch of {self.batch_size}",
            "Lower its widths, --config.batch_size or --config.window.",
        )

    def example(self) -> dict[str, Any]:
        """Return a row of zeros of the window's size, with everything that a method may read."""
        return config_example(self.config)


def freezes_encoder(config: Any) -> bool:
    """Return whether a config of a `Run`, plain or not, trains a segmenter with a frozen encoder."""
    optimiser = config["optimiser"]
    still = "encoder/*" in optimiser.get("freeze", ()) and not optimiser.get("thaw", ())
    frozen = config["method"].get("frozen_encoder", False) or still
    return is_segmenter(config) and bool(frozen or config["transfer"] == "linear-probe")


def is_segmenter(config: Any) -> bool:
    """Return whether a config of a `Run` trains a segmenter (with the command `segment`); otherwise it pretrains."""
    return has_head(config["method"])


def has_head(method: Any) -> bool:
    """Return whether the config of a method describes a segmenter."""
    return "head" in method


def check_command(config: Any, command: str) -> None:
    """Raise UserError if a config of a `Run` is for the other one of the commands `pretrain` and `segment`."""
    right = "segment" if is_segmenter(config) else "pretrain"
    if command != right:
        kind = config["method"]["target"].rpartition(":")[2]
        raise UserError(f"{command} got a config that {right}s: its method is {kind}. Use {right}, or name another --config.")
