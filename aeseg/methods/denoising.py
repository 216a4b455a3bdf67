"""The denoising autoencoder: give back the clean image from a corrupted one."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg import keys, masking, metrics, objectives
from aeseg.metrics import Mean
from aeseg.spec import recipe as part
from aeseg.spec import spec
from aeseg.types import Batch, UserError

PREDICTIONS = ("image", "noise")


class Denoising(nn.Module):
    """Encoder and decoder see corrupted images; the error is against the clean ones (Vincent et al. 2008, section 2.3).

    noise           what corrupts, one after the other: the dataclasses of aeseg/masking.py
    objective       squared_error | absolute_error | binary_cross_entropy | ssim_l1
    output          sigmoid | linear
    predicts        image | noise: what was added, to be subtracted again (residual learning, DnCNN, Zhang et al.
                    2017, equation 1); it takes output linear, and squared_error or absolute_error
    visible_weight  the error of a pixel that the noise left as it was counts this much (emphasised denoising, Vincent et al.
                    2010, section 3.3: beta / alpha); 0: only what was changed counts, as in MAE

    The weight of the loss is the number of images whatever visible_weight is, so lowering it lowers the loss.
    Evaluation corrupts with a constant key and the row's `index`, its place in the data set: a record gets the same noise in every
    evaluation, whatever the batch size and the number of devices and processes.
    """

    encoder: nn.Module
    decoder: nn.Module
    noise: tuple[masking.Noise, ...] = ()
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
        """The Means that make the loss; PSNR and SSIM of the cleaned image are only logged."""
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
        if not train:  # it costs as much as some layers, and is read in evaluation only
            means["ssim"] = metrics.ssim(cleaned, image, valid)
        return means

    def denominators(self, batch: Batch) -> dict[str, Array]:
        """The weight of each Mean: the images that are not padding."""
        return dict.fromkeys((self.objective, "psnr", "ssim"), objectives.image_count(batch["valid"]))

    def show(self, batch: Batch) -> dict[str, Array]:
        """Columns of the run's pictures."""
        noisy = self._noisy(batch, train=False)
        cleaned = self._cleaned(noisy, self._values(noisy, train=False))
        return {"image": batch["image"], "noisy": noisy.clip(0, 1), "reconstruction": cleaned.clip(0, 1)}

    def _noisy(self, batch: Batch, train: bool) -> Float[Array, "b h w c"]:
        key = self.make_rng("noise") if train else jax.random.key(0)
        return masking.corrupted(self.noise, keys.per_row(key, batch["index"]), batch["image"])

    def _values(self, noisy: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c"]:
        return self.decoder(self.encoder(noisy, train=train), train=train)

    def _cleaned(self, noisy: Float[Array, "b h w c"], values: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        prediction = objectives.as_prediction(values, self.output)
        return noisy - prediction if self.predicts == "noise" else prediction


def recipe(size: str = "small") -> ConfigDict:
    """Blocked-out squares on a convolutional autoencoder of that size: what is hidden has to be told from around it.

    On the embedded scenes and with few labels, fine noise and small squares gave encoders that segment worse than fresh ones do.
    """
    return spec(
        Denoising,
        encoder=part("aeseg.models.encoders", "convnet", size),
        decoder=part("aeseg.models.decoders", "convolutional", size),
        noise=(spec(masking.Squares, size=16, share=0.6),),
        visible_weight=0.02,
    )
