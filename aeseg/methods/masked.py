"""MAE: encode a quarter of the patches and reconstruct the pixels of the others."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from aeseg import images, masking, metrics, objectives, targets
from aeseg.metrics import Mean
from aeseg.models import layers, masked_modes
from aeseg.models.token_decoder import TokenDecoder
from aeseg.spec import choose, spec
from aeseg.spec import recipe as part
from aeseg.types import Batch, UserError


class Masked(nn.Module):
    """Masked autoencoder (He et al. 2022, section 3): the encoder sees visible patches only, a small decoder sees all.

    sampler                 chooses hidden patches: Random | RandomUp | Block | Grid (aeseg/masking.py) | Selective (aeseg/selective.py)
    standardised            targets are patches with mean 0 and variance 1 ("normalized pixels", section 3); otherwise patches of the
                            image standardised by `target_mean` and `target_std`
    mask_token_in_encoder   the encoder also sees hidden patches, as a learned token (table 1c); needs has_mask_token
    target_mean, target_std   standardise the image before it is the target; (): the encoder's (see `fcmae.SparseMasked`)
    content                 least content of a hidden patch that enters the loss (`aeseg.targets.counted`); 0: all, as in the paper

    The loss is the squared error, averaged over the pixels of a patch and over hidden patches. Evaluation hides with a constant key,
    so a row hides the same patches in every evaluation; its PSNR replaces only hidden patches by predictions. With `standardised`,
    predictions get the mean and deviation of the true patch, so PSNR does not measure these.
    """

    encoder: nn.Module
    decoder: nn.Module
    sampler: masking.Sampler
    standardised: bool = False
    mask_token_in_encoder: bool = False
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    content: float = 0.0

    def __post_init__(self) -> None:
        masked_modes.check_embeds_visible(self.encoder, "Masked")
        targets.check("Masked", self.target_mean, self.target_std, self.content)
        if self.mask_token_in_encoder != self.encoder.has_mask_token:
            raise UserError(
                "mask_token_in_encoder must equal the encoder's has_mask_token; got "
                f"{self.mask_token_in_encoder} and {self.encoder.has_mask_token}. Set both to the same value."
            )
        super().__post_init__()

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients of the Means in the loss; PSNR is only logged."""
        return {"squared_error": 1.0}

    def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
        image, valid = batch["image"], batch["valid"]
        hidden = self._hidden(batch, train)
        values = self._values(image, hidden, train)
        counted = targets.counted(hidden, self._seen(image), image.shape[-1], self.content)
        means = {"squared_error": objectives.hidden_error(jnp.square(values - self._target(image)), counted, valid)}
        if not train:
            means["psnr"] = metrics.psnr(masking.pasted(image, hidden, self.encoder.patch, self._prediction(image, values)), image, valid)
        return means

    def denominators(self, batch: Batch) -> dict[str, Array]:
        """Return the weight of each Mean: the number of images that are not padding: an image counts once, whatever patches it counts."""
        return dict.fromkeys(("squared_error", "psnr"), objectives.image_count(batch["valid"]))

    def show(self, batch: Batch) -> dict[str, Array]:
        """Return the columns of the run's pictures: image, visible patches, hidden patches reconstructed, all reconstructed."""
        image, hidden = batch["image"], self._hidden(batch, train=False)
        prediction = self._prediction(image, self._values(image, hidden, train=False))
        return masking.columns(image, hidden, self.encoder.patch, prediction)

    def _hidden(self, batch: Batch, train: bool) -> Bool[Array, "b h w"]:
        if not train:
            return masking.hidden_in(self.sampler, batch, self.encoder.patch, jax.random.key(0))
        error = functools.partial(self._patch_error, batch["image"])
        return masking.hidden_in(self.sampler, batch, self.encoder.patch, self.make_rng("hidden"), error)

    def _patch_error(self, image: Float[Array, "b _ _ c"], hidden: Bool[Array, "b h w"]) -> Float[Array, "b h w"]:
        """Return the error of each hidden patch in evaluation mode; 0 for a patch that does not enter the loss."""
        counted = targets.counted(hidden, self._seen(image), image.shape[-1], self.content)
        error = jnp.square(self._values(image, hidden, train=False) - self._target(image))
        return jnp.where(counted, jnp.mean(error, axis=-1), 0)

    def _values(self, image: Float[Array, "b _ _ c"], hidden: Bool[Array, "b h w"], train: bool) -> Float[Array, "b h w p"]:
        """Return the decoder's prediction for each patch, float32."""
        if self.mask_token_in_encoder:
            tokens = self.encoder.embed(image, hidden, train=train)
        else:
            visible = hidden.shape[1] * hidden.shape[2] - self.sampler.count(*hidden.shape[1:])
            tokens = self.encoder.embed_visible(image, hidden, visible, train=train)
        leading, numbers = self.encoder.leading, self.encoder.patch**2 * image.shape[-1]
        return self.decoder(tokens, hidden, leading, numbers, train=train).astype(jnp.float32)

    def _seen(self, image: Float[Array, "b _ _ c"]) -> Float[Array, "b h w p"]:
        return images.patches(layers.standardise(image, *self._statistics), self.encoder.patch)

    @property
    def _statistics(self) -> targets.Statistics:
        return targets.statistics(self.encoder, self.target_mean, self.target_std)

    def _target(self, image: Float[Array, "b _ _ c"]) -> Float[Array, "b h w p"]:
        patches = self._seen(image)
        if not self.standardised:
            return patches
        mean, deviation = images.patch_statistics(patches)
        return (patches - mean) / deviation

    def _prediction(self, image: Float[Array, "b _ _ c"], values: Float[Array, "b h w p"]) -> Float[Array, "b _ _ c"]:
        """Convert the decoder's values to an image."""
        if self.standardised:
            mean, deviation = images.patch_statistics(self._seen(image))
            values = values * deviation + mean
        return layers.unstandardise(images.from_patches(values, self.encoder.patch), *self._statistics)


def recipe(size: str = "small") -> ConfigDict:
    """Return MAE of a size: tiny (tests), small (CPU; patches of 8), b16, l16, h14 (the paper's; decoder: 8 blocks, 512 channels)."""
    paper = {"width": 512, "depth": 8, "heads": 16}
    decoder = choose(
        size,
        tiny={"width": 8, "depth": 1, "heads": 2, "grid": (4, 4)},
        small={"width": 128, "depth": 2, "heads": 4, "grid": (8, 8)},
        b16=paper,
        l16=paper,
        h14={**paper, "grid": (16, 16)},
    )
    return spec(
        Masked,
        encoder=part("aeseg.models.encoders", "vit", size),
        decoder=spec(TokenDecoder, **decoder),
        sampler=spec(masking.Random if size in ("tiny", "small") else masking.RandomUp, ratio=0.75),
    )
