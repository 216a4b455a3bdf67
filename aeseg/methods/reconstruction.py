"""The plain autoencoder: reconstruct the image through a bottleneck."""

import flax.linen as nn
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg import metrics, objectives
from aeseg.metrics import Mean
from aeseg.spec import recipe as part
from aeseg.spec import spec
from aeseg.types import Batch


class Reconstruction(nn.Module):
    """Autoencoder: encoder, decoder, and the error of the reconstruction (Hinton & Salakhutdinov 2006).

    objective   squared_error | absolute_error | binary_cross_entropy | ssim_l1
    output      sigmoid (values in [0, 1]) | linear

    Evaluation also measures `floor` for binary_cross_entropy: the loss of a perfect reconstruction, which is not 0.
    """

    encoder: nn.Module
    decoder: nn.Module
    objective: str = "squared_error"
    output: str = "sigmoid"

    def __post_init__(self) -> None:
        objectives.check_image_objective(self.objective, self.output)
        super().__post_init__()

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients of the Means in the loss; PSNR, SSIM and the floor are only logged."""
        return {self.objective: 1.0}

    def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
        image, valid = batch["image"], batch["valid"]
        values = self._values(image, train)
        prediction = objectives.as_prediction(values, self.output)
        means = {
            self.objective: objectives.image_error(self.objective, self.output, values, image, valid),
            "psnr": metrics.psnr(prediction, image, valid),
        }
        if not train:  # as costly as some layers, and only read in evaluation
            means["ssim"] = metrics.ssim(prediction, image, valid)
            if self._has_floor:
                means["floor"] = objectives.binary_entropy(image, valid)
        return means

    def denominators(self, batch: Batch) -> dict[str, Array]:
        """Return the weight of each Mean: the number of images that are not padding."""
        names = (self.objective, "psnr", "ssim", *(("floor",) if self._has_floor else ()))
        return dict.fromkeys(names, objectives.image_count(batch["valid"]))

    def show(self, batch: Batch) -> dict[str, Array]:
        """Return the columns of the run's pictures: image and reconstruction."""
        values = self._values(batch["image"], train=False)
        return {"image": batch["image"], "reconstruction": objectives.as_prediction(values, self.output).clip(0, 1)}

    @property
    def _has_floor(self) -> bool:
        return self.objective == "binary_cross_entropy"

    def _values(self, image: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c"]:
        return self.decoder(self.encoder(image, train=train), train=train)


def recipe(size: str = "small") -> ConfigDict:
    """Return a convolutional autoencoder: `convnet` and `convolutional` of a size."""
    return spec(
        Reconstruction,
        encoder=part("aeseg.models.encoders", "convnet", size),
        decoder=part("aeseg.models.decoders", "convolutional", size),
    )
