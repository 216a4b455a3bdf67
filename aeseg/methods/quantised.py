"""The quantised autoencoder: reconstruct the image from a grid of codes of a finite codebook."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from aeseg import metrics, objectives
from aeseg.metrics import Mean
from aeseg.models import layers, quantisers
from aeseg.models.quantisers import Quantised
from aeseg.spec import choose, spec
from aeseg.spec import recipe as part
from aeseg.types import Batch


class QuantisedAutoencoder(nn.Module):
    """Autoencoder with quantised features at the encoder's coarsest stride (van den Oord et al. 2017, equation 3).

    A 1x1 convolution reduces the features to the quantiser's width.

    quantiser   FiniteScalar (Mentzer et al. 2024) | NearestVector (VQ-VAE's codebook): aeseg/models/quantisers.py
    objective   squared_error | absolute_error | binary_cross_entropy | ssim_l1
    output      sigmoid (values in [0, 1]) | linear

    A codebook adds its commitment error to the loss.  Evaluation counts codes over the whole data set: `perplexity` is exp of the
    entropy of their frequencies, `used_codes` the used fraction of the codebook.
    """

    encoder: nn.Module
    decoder: nn.Module
    quantiser: quantisers.Quantiser
    objective: str = "squared_error"
    output: str = "sigmoid"

    def __post_init__(self) -> None:
        objectives.check_image_objective(self.objective, self.output)
        super().__post_init__()

    def setup(self) -> None:
        self.narrow = layers.Convolution(self.quantiser.width, size=1, initialiser="lecun")

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients of the Means in the loss; others are only logged."""
        commitment = {"commitment": self.quantiser.commitment} if self.quantiser.commitment else {}
        return {self.objective: 1.0, **commitment}

    def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
        image, valid = batch["image"], batch["valid"]
        stride, quantised = self._quantised(batch, train)
        values = self.decoder({stride: quantised.values}, train=train)
        prediction = objectives.as_prediction(values, self.output)
        means = {
            self.objective: objectives.image_error(self.objective, self.output, values, image, valid),
            "psnr": metrics.psnr(prediction, image, valid),
        }
        if self.quantiser.commitment:
            means["commitment"] = Mean(jnp.sum(jnp.where(valid, quantised.commitment, 0)), objectives.image_count(valid))
        if not train:
            means["ssim"] = metrics.ssim(prediction, image, valid)
            means["codes"] = _frequencies(quantised.codes, batch, self.quantiser.size)
        return means

    def denominators(self, batch: Batch) -> dict[str, Array]:
        """Return the weight of each Mean: the number of images that are not padding."""
        commitment = ("commitment",) if self.quantiser.commitment else ()
        return dict.fromkeys((self.objective, "psnr", "ssim", "codes", *commitment), objectives.image_count(batch["valid"]))

    def summary(self, values: dict[str, Any]) -> dict[str, float]:
        """Convert the means of a data set to numbers: the frequencies of codes to perplexity and used codes."""
        values = dict(values)
        frequency = values.pop("codes")
        occurring = frequency[frequency > 0]
        entropy = -np.sum(occurring * np.log(occurring))
        return {**values, "perplexity": float(np.exp(entropy)), "used_codes": occurring.size / frequency.size}

    def show(self, batch: Batch) -> dict[str, Array]:
        """Return the columns of the run's pictures: image, reconstruction, and codes as grey levels."""
        image = batch["image"]
        stride, quantised = self._quantised(batch, train=False)
        values = self.decoder({stride: quantised.values}, train=False)
        grey = jnp.repeat(jnp.repeat(quantised.codes, stride, axis=1), stride, axis=2) / (self.quantiser.size - 1)
        return {
            "image": image,
            "reconstruction": objectives.as_prediction(values, self.output).clip(0, 1),
            "tokens": grey[..., None].astype(jnp.float32),
        }

    def encode(self, image: Float[Array, "b y x c"]) -> Int[Array, "b h w"]:
        """Return the codes of images, in evaluation mode."""
        rows = len(image)
        return self._quantised({"image": image, "valid": jnp.ones(rows, bool), "index": jnp.arange(rows)}, train=False)[1].codes

    def decode(self, codes: Int[Array, "b h w"], stride: int) -> Float[Array, "b y x c"]:
        """Return the images in [0, 1] of codes; `stride` is the encoder's coarsest."""
        values = self.decoder({stride: self.quantiser.vectors(codes)}, train=False)
        return objectives.as_prediction(values, self.output).clip(0, 1)

    def _quantised(self, batch: Batch, train: bool) -> tuple[int, Quantised]:
        """Return (stride of the codes, result of the quantiser)."""
        pyramid = self.encoder(batch["image"], train=train)
        features = self.narrow(pyramid[max(pyramid)].astype(jnp.float32))
        return max(pyramid), self.quantiser(features, batch["valid"], batch["index"], train=train)


def _frequencies(codes: Int[Array, "b h w"], batch: Batch, size: int) -> Mean:
    """Return the fraction of positions with each code, averaged over images."""
    weights = jnp.broadcast_to(batch["valid"][:, None, None], codes.shape).astype(jnp.int32)
    counts = jnp.zeros(size, jnp.int32).at[codes].add(weights)
    return Mean(counts.astype(jnp.float32) / (codes.shape[1] * codes.shape[2]), objectives.image_count(batch["valid"]))


def recipe(size: str = "small") -> ConfigDict:
    """Return finite scalar quantisation on `reconstruction`'s convolutional autoencoder of a size; `vq`: VQ-VAE's codebook, small.

    The levels are the paper's (table 1) for about 2^8 codes; 2^10 for reference.
    """
    levels = {"tiny": (3, 3), "small": (8, 6, 5), "reference": (8, 5, 5, 5)}
    scalar = {name: {"quantiser": spec(quantisers.FiniteScalar, levels=each), "size": name} for name, each in levels.items()}
    chosen = choose(size, **scalar, vq={"quantiser": spec(quantisers.NearestVector), "size": "small"})
    return spec(
        QuantisedAutoencoder,
        encoder=part("aeseg.models.encoders", "convnet", chosen["size"]),
        decoder=part("aeseg.models.decoders", "convolutional", chosen["size"]),
        quantiser=chosen["quantiser"],
    )
