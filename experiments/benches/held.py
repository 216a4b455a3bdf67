"""A network's first variables, drawn without a compiler; its parameters as PyTorch tensors that train; and layers on these."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeseg import tree


def variables_of(init: Callable[[], Any]) -> Any:
    """Return variables of the shapes that `init` returns: kernels of He et al. 2015, norms that do nothing, other parameters of 0.02.

    Nothing is compiled, so that the memory of a process is that of its steps.
    """
    random = np.random.default_rng(0)

    def drawn(path: Any, leaf: Any) -> jax.Array:
        name = path[-1].key
        if name in ("scale", "var"):
            return jnp.asarray(np.ones(leaf.shape, np.float32))
        if name in ("bias", "mean", "gamma", "beta"):
            return jnp.asarray(np.zeros(leaf.shape, np.float32))
        deviation = (2 / np.prod(leaf.shape[:-1])) ** 0.5 if name == "kernel" else 0.02
        return jnp.asarray((deviation * random.standard_normal(leaf.shape)).astype(np.float32))

    return jax.tree_util.tree_map_with_path(drawn, jax.eval_shape(init))


def flat(variables: Any) -> dict[str, np.ndarray]:
    """Return a copy of variables by path."""
    return {path: np.array(leaf) for path, leaf in tree.flatten(variables).items()}


class Held:
    """Parameters of one of our modules as tensors of PyTorch, by path; `within` selects a submodule.

    The methods apply a layer to features [b c h w], which lie in memory as `layout` says: "channels_last" or "contiguous_format".
    """

    def __init__(self, torch: Any, weights: dict[str, np.ndarray], layout: str = "channels_last", trains: bool = True):
        self.torch, self.scope, self.layout = torch, "", getattr(torch, layout)
        self.tensors = {path: self._parameter(path, leaf).requires_grad_(trains) for path, leaf in weights.items()}

    def within(self, name: str) -> "Held":
        """Return the same tensors, seen from the submodule `name`."""
        inner = object.__new__(Held)
        inner.__dict__.update(self.__dict__, scope=f"{self.scope}{name}/")
        return inner

    def features(self, image: np.ndarray) -> Any:
        """Convert arrays [b h w c]."""
        return self.torch.tensor(image.transpose(0, 3, 1, 2).copy()).contiguous(memory_format=self.layout)

    def __getitem__(self, path: str) -> Any:
        return self.tensors[self.scope + path]

    def convolve(self, features: Any, name: str, **how: Any) -> Any:
        """Apply a convolution with stride 1 and SAME padding, unless `how` says otherwise."""
        kernel = self[f"{name}/kernel"]
        how = {"padding": kernel.shape[-1] // 2, **how}
        return self.torch.nn.functional.conv2d(features, kernel, self.tensors.get(f"{self.scope}{name}/bias"), **how)

    def transpose(self, features: Any, name: str, **how: Any) -> Any:
        """Apply a transposed convolution with stride 2."""
        kernel, bias = self[f"{name}/kernel"], self[f"{name}/bias"]
        return self.torch.nn.functional.conv_transpose2d(features, kernel, bias, stride=2, **how)

    def normalise(self, features: Any, name: str, statistics: tuple[Any, Any] | None = None) -> Any:
        """Apply batch norm: with the statistics of the batch, or with (mean, variance)."""
        affine, given = (self[f"{name}/scale"], self[f"{name}/bias"]), statistics or (None, None)
        return self.torch.nn.functional.batch_norm(features, *given, *affine, training=statistics is None)

    def linear(self, features: Any, name: str) -> Any:
        """Apply a fully connected layer to the last axis."""
        return self.torch.nn.functional.linear(features, self[f"{name}/kernel"], self[f"{name}/bias"])

    def layer_norm(self, features: Any, name: str) -> Any:
        """Apply layer norm to the last axis."""
        affine = self[f"{name}/scale"], self[f"{name}/bias"]
        return self.torch.nn.functional.layer_norm(features, features.shape[-1:], *affine, eps=1e-6)

    def _parameter(self, path: str, leaf: np.ndarray) -> Any:
        """Convert one parameter: kernels [h w in out] to [out in h w], of layers `up*` to [in out h w], and [in out] to [out in]."""
        if leaf.ndim == 4:
            up = path.split("/")[-2].startswith("up")
            leaf = leaf.transpose((2, 3, 0, 1) if up else (3, 2, 0, 1))
            return self.torch.tensor(leaf.copy()).contiguous(memory_format=self.layout)
        return self.torch.tensor(leaf.T.copy() if path.endswith("kernel") else leaf)
