"""Semantic maps, including pseudo-labels of another network."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from aeseg.models import tokens, transformer
from aeseg.types import IGNORE, Batch, UserError


class Label(nn.Module):
    """Patches of class embeddings; cross-entropy (Bachmann et al. 2022, sections 3.1 and 3.3, "semantic segmentation").

    Every `stride`-th pixel of the map is read.  IGNORE pixels have a zero embedding and no error; a patch with only IGNORE pixels is
    missing.

    embedding   size of the embedding of a class
    """

    classes: int
    patch: int = 16
    stride: int = 4
    embedding: int = 64

    key = "label"
    term = "cross_entropy"

    def __post_init__(self) -> None:
        if self.patch % self.stride:
            raise UserError(f"Label needs a patch that is a multiple of its stride, {self.stride}; got {self.patch}. Change one of them.")
        super().__post_init__()

    def grid(self, batch: Batch) -> tuple[int, int]:
        return tokens.patch_grid(tokens.read(batch, self.key, "Label"), self.patch, "Label")

    def present(self, batch: Batch) -> Bool[Array, "b n"]:
        return tokens.recorded(batch, self.key)[:, None] & jnp.any(self._labels(batch) != IGNORE, axis=-1)

    @nn.compact
    def __call__(self, batch: Batch, width: int, dtype: str) -> Float[Array, "b n {width}"]:
        table = self.param("classes", transformer.TOKEN, (self.classes, self.embedding))
        labels = self._labels(batch)
        vectors = jnp.where((labels != IGNORE)[..., None], jnp.take(table, jnp.clip(labels, 0, self.classes - 1), axis=0), 0)
        return tokens.embedded(vectors.reshape(*labels.shape[:2], -1), self.grid(batch), width, dtype)

    def numbers(self, batch: Batch) -> int:
        return (self.patch // self.stride) ** 2 * self.classes

    def error(self, values: Float[Array, "b n p"], batch: Batch) -> Float[Array, "b n"]:
        """Return the cross-entropy of each patch: the mean over its labelled pixels, or 0 without labelled pixels."""
        labels = self._labels(batch)
        known = labels != IGNORE
        chance = jax.nn.log_softmax(values.reshape(*labels.shape, self.classes), axis=-1)
        each = -jnp.take_along_axis(chance, jnp.clip(labels, 0, self.classes - 1)[..., None], axis=-1)[..., 0]
        return jnp.sum(jnp.where(known, each, 0), axis=-1) / jnp.maximum(jnp.sum(known, axis=-1), 1)

    def picture(self, values: Float[Array, "b n p"], visible: Bool[Array, "b n"], batch: Batch) -> Int[Array, "b h w"]:
        """Return the label map with predicted hidden patches."""
        labels = self._labels(batch)
        predicted = jnp.argmax(values.reshape(*labels.shape, self.classes), axis=-1)
        chosen = tokens.pasted(
            predicted.astype(jnp.float32), labels.astype(jnp.float32), visible, self.grid(batch), self.patch // self.stride
        )
        return jnp.repeat(jnp.repeat(chosen[..., 0].astype(jnp.int32), self.stride, axis=1), self.stride, axis=2)

    def _labels(self, batch: Batch) -> Int[Array, "b n p"]:
        label = tokens.read(batch, self.key, "Label")[:, :: self.stride, :: self.stride]
        return tokens.patches(label.astype(jnp.float32), self.patch // self.stride).astype(jnp.int32)
