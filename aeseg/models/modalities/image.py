"""The image; the encoder makes its tokens."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from aeseg import images
from aeseg.models import layers, tokens
from aeseg.types import Batch


class Image(nn.Module):
    """Patches of the image; squared error of the pixels that the encoder sees (Bachmann et al. 2022, section 3.3).

    standardised   the target is each patch with mean 0 and variance 1 (the paper's second head for RGB)
    mean, std      statistics of the images, equal to the encoder's
    """

    patch: int = 16
    standardised: bool = False
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    key = "image"

    @property
    def term(self) -> str:
        return "standardised_error" if self.standardised else "squared_error"

    def grid(self, batch: Batch) -> tuple[int, int]:
        return tokens.patch_grid(batch["image"], self.patch, "Image")

    def present(self, batch: Batch) -> Bool[Array, "b n"]:
        rows, columns = self.grid(batch)
        return jnp.repeat(tokens.recorded(batch, self.key)[:, None], rows * columns, axis=1)

    def numbers(self, batch: Batch) -> int:
        return self.patch**2 * batch["image"].shape[-1]

    def error(self, values: Float[Array, "b n p"], batch: Batch) -> Float[Array, "b n"]:
        target = self._patches(batch)
        if self.standardised:
            mean, deviation = images.patch_statistics(target[:, None])
            target = ((target[:, None] - mean) / deviation)[:, 0]
        return jnp.mean(jnp.square(values - target), axis=-1)

    def picture(self, values: Float[Array, "b n p"], visible: Bool[Array, "b n"], batch: Batch) -> Float[Array, "b h w c"]:
        """Return the image with predicted hidden patches; a standardised patch gets the true patch's mean and deviation."""
        own = self._patches(batch)
        if self.standardised:
            mean, deviation = images.patch_statistics(own[:, None])
            values = (values[:, None] * deviation + mean)[:, 0]
        return layers.unstandardise(tokens.pasted(values, own, visible, self.grid(batch), self.patch), self.mean, self.std)

    def pixels(self, batch: Batch) -> Float[Array, "b h w c"]:
        """Return the image, which its encoder standardises."""
        return jnp.asarray(batch["image"])

    def seen(self, batch: Batch) -> Float[Array, "b h w c"]:
        """Return the image."""
        return jnp.asarray(batch["image"])

    def _patches(self, batch: Batch) -> Float[Array, "b n p"]:
        return tokens.patches(layers.standardise(batch["image"], self.mean, self.std), self.patch)
