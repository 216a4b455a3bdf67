"""The denoising autoencoder: recover the clean image from a corrupted one."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg import keys, metrics, noises, objectives
from aeseg.metrics import Mean
from aeseg.spec import recipe as part
from aeseg.spec import spec
from aeseg.types import Batch, UserError

PREDICTIONS = ("image", "noise")


class Denoising(nn.Module):
    """Denoising autoencoder: the input is corrupted, the target is the clean image (Vincent et al. 2008, section 2.3).

    noise           corruptions, applied in order: dataclasses of aeseg/noises.py; with blur, holes or shrinking, the network learns
                    to deblur, fill in or enlarge (`noises.task`)
    objective       squared_error | absolute_error | binary_cross_entropy | ssim_l1
    output          sigmoid | linear
    predicts        image | noise: the added noise, to be subtracted (residual learning, DnCNN, Zhang et al. 2017, equation 1);
                    noise needs output linear, and squared_error or absolute_error
    visible_weight  weight of the error of unchanged pixels (emphasised denoising, Vincent et al. 2010, section 3.3: beta / alpha);
                    0: only changed pixels count, as in MAE

    The weight of the loss is the number of images for any `visible_weight`, so a lower one lowers the loss. Evaluation corrupts with a
    constant key and the `index` of the record in the data set: a record gets the same noise in every evaluation, for any batch size
    and number of devices and processes.
    """

    encoder: nn.Module
    decoder: nn.Module
    noise: tuple[noises.Noise, ...] = ()
    objective: str = "squared_error"
    output: str = "sigmoid"
    predicts: str = "image"
    visible_weight: float = 1.0

    def __post_init__(self) -> None:
        objectives.check_image_objective(self.objective, self.output)
        if self.predicts not in PREDICTIONS:
            raise UserError(f"predicts is one of {', '.join(PREDICTIONS)}; got {self.predicts!r}. Set predicts to one of these.")
        if self.predicts == "noise" and (self.output != "linear" or self.objective not in ("squared_error", "absolute_error")):
            raise UserError(
                "predicts='noise' has values below 0 and so needs output='linear' and objective squared_error or absolute_error; "
                f"got output={self.output!r}, objective={self.objective!r}. Change these two, or set predicts='image'."
            )
        super().__post_init__()

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients of the Means in the loss; PSNR and SSIM of the cleaned image are only logged."""
        return {self.objective: 1.0}

    def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
        image, valid = batch["image"], batch["valid"]
        noisy = self._noisy(batch, train)
        values = self._values(noisy, train)
        target = noisy - image if self.predicts == "noise" else image
        emphasis = None
        if self.visible_weight != 1:
            emphasis = jnp.where(jnp.any(noisy != image, axis=-1), 1.0, self.visible_weight)
        cleaned = self._cleaned(noisy, values)
        means = {
            self.objective: objectives.image_error(self.objective, self.output, values, target, valid, emphasis),
            "psnr": metrics.psnr(cleaned, image, valid),
        }
        if not train:  # as costly as some layers, and only read in evaluation
            means["ssim"] = metrics.ssim(cleaned, image, valid)
        return means

    def denominators(self, batch: Batch) -> dict[str, Array]:
        """Return the weight of each Mean: the number of images that are not padding."""
        return dict.fromkeys((self.objective, "psnr", "ssim"), objectives.image_count(batch["valid"]))

    def show(self, batch: Batch) -> dict[str, Array]:
        """Return the columns of the run's pictures: image, corrupted image, reconstruction."""
        noisy = self._noisy(batch, train=False)
        cleaned = self._cleaned(noisy, self._values(noisy, train=False))
        return {"image": batch["image"], "noisy": noisy.clip(0, 1), "reconstruction": cleaned.clip(0, 1)}

    def _noisy(self, batch: Batch, train: bool) -> Float[Array, "b h w c"]:
        key = self.make_rng("noise") if train else jax.random.key(0)
        return noises.corrupted(self.noise, keys.per_row(key, batch["index"]), batch["image"])

    def _values(self, noisy: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c"]:
        return self.decoder(self.encoder(noisy, train=train), train=train)

    def _cleaned(self, noisy: Float[Array, "b h w c"], values: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        prediction = objectives.as_prediction(values, self.output)
        return noisy - prediction if self.predicts == "noise" else prediction


def recipe(size: str = "small") -> ConfigDict:
    """Return a convolutional autoencoder of a size that fills in grey squares from their surroundings.

    On the generated scenes with few labels, encoders pretrained with fine noise and small squares segment worse than random ones.
    """
    return spec(
        Denoising,
        encoder=part("aeseg.models.encoders", "convnet", size),
        decoder=part("aeseg.models.decoders", "convolutional", size),
        noise=(spec(noises.Squares, size=16, share=0.6),),
        visible_weight=0.02,
    )
