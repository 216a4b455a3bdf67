"""FCMAE: the masked autoencoder of convolutional networks, without sparse convolutions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from aeseg import images, masking, metrics, objectives
from aeseg.metrics import Mean
from aeseg.models import layers, masked_modes
from aeseg.spec import choose, spec
from aeseg.spec import recipe as part
from aeseg.types import Batch


class SparseMasked(nn.Module):
    """A convolutional encoder that sees visible units alone, a decoder that gives back the others: FCMAE and SparK.

    Woo et al. 2023 (section 3.1, with a ConvNeXt V2 block as decoder) and Tian et al. 2023 (section 3, with mask embeddings at
    every scale) compute this; they differ in encoder and decoder.  The papers' sparse convolutions are dense ones between
    zeros here (`aeseg.models.sparse`), which give the same numbers.

    encoder   with masked_mode "sparse"
    decoder   one that takes `hidden`: convnext | light
    sampler   which units are hidden: Random (the papers') | Block | Grid of aeseg/masking.py
    unit      the pixels on a unit's side: a multiple of the encoder's coarsest stride (the papers: that stride)

    Each unit is to be given back with mean 0 and variance 1 (He et al. 2022, section 3, "normalized pixels"), from the image that the
    encoder sees.  The loss is the squared error, a mean over a unit's numbers and over the hidden units.  Evaluation hides
    with a constant key.  PSNR there is that of the image with only its hidden units given back; their own mean and deviation
    are taken from the image, so it says nothing about these.
    """

    encoder: nn.Module
    decoder: nn.Module
    sampler: masking.Sampler
    unit: int = 32

    def __post_init__(self) -> None:
        masked_modes.check_masked_mode(self.encoder, "SparseMasked", ("sparse",))
        super().__post_init__()

    @property
    def coefficients(self) -> dict[str, float]:
        """The Means that make the loss; PSNR is only logged."""
        return {"squared_error": 1.0}

    def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
        image, valid = batch["image"], batch["valid"]
        hidden = self._hidden(batch, train)
        values = self._values(image, hidden, train)
        seen = self._seen(image)
        mean, deviation = images.patch_statistics(seen)
        means = {"squared_error": objectives.hidden_error(jnp.square(values - (seen - mean) / deviation), hidden, valid)}
        if not train:
            means["psnr"] = metrics.psnr(masking.pasted(image, hidden, self.unit, self._prediction(image, values)), image, valid)
        return means

    def denominators(self, batch: Batch) -> dict[str, Array]:
        """The weight of each Mean: the images that are not padding (each hides equally many units)."""
        return dict.fromkeys(("squared_error", "psnr"), objectives.image_count(batch["valid"]))

    def show(self, batch: Batch) -> dict[str, Array]:
        """Columns of the run's pictures: the image, what the encoder sees, the hidden units given back, and all units given back."""
        image, hidden = batch["image"], self._hidden(batch, train=False)
        prediction = self._prediction(image, self._values(image, hidden, train=False))
        return masking.columns(image, hidden, self.unit, prediction)

    def _hidden(self, batch: Batch, train: bool) -> Bool[Array, "b i j"]:
        return masking.hidden_in(self.sampler, batch, self.unit, self.make_rng("hidden") if train else jax.random.key(0))

    def _values(self, image: Float[Array, "b h w c"], hidden: Bool[Array, "b i j"], train: bool) -> Float[Array, "b i j p"]:
        """What the decoder says of each unit, float32."""
        pyramid = self.encoder(image, train=train, hidden=hidden)
        return images.patches(self.decoder(pyramid, train=train, hidden=hidden).astype(jnp.float32), self.unit)

    def _seen(self, image: Float[Array, "b h w c"]) -> Float[Array, "b i j p"]:
        return images.patches(layers.standardise(image, self.encoder.mean, self.encoder.std), self.unit)

    def _prediction(self, image: Float[Array, "b h w c"], values: Float[Array, "b i j p"]) -> Float[Array, "b h w c"]:
        """The decoder's values as an image."""
        mean, deviation = images.patch_statistics(self._seen(image))
        seen = images.from_patches(values * deviation + mean, self.unit)
        return layers.unstandardise(seen, self.encoder.mean, self.encoder.std)


def recipe(size: str = "small") -> ConfigDict:
    """FCMAE on `convnextv2` of that size: tiny (tests), small (a CPU; units of 8 pixels), the paper's eight with its decoder and units."""
    paper = {"unit": 32, "decoder": "reference"}
    sizes = dict.fromkeys(("atto", "femto", "pico", "nano", "v2_tiny", "base", "large", "huge"), paper)
    fields = choose(size, tiny={"unit": 4, "decoder": "tiny"}, small={"unit": 8, "decoder": "small"}, **sizes)
    return spec(
        SparseMasked,
        encoder=part("aeseg.models.encoders", "convnextv2", size),
        decoder=part("aeseg.models.decoders", "convnext", fields["decoder"]),
        sampler=spec(masking.Random, ratio=0.6),
        unit=fields["unit"],
    )
