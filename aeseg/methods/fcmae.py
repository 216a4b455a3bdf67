"""FCMAE: the masked autoencoder for convolutional networks, without sparse convolutions."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from aeseg import images, masking, metrics, objectives, targets
from aeseg.metrics import Mean
from aeseg.models import layers, masked_modes
from aeseg.spec import choose, spec
from aeseg.spec import recipe as part
from aeseg.types import Batch


class SparseMasked(nn.Module):
    """FCMAE and SparK: a convolutional encoder of visible units, and a decoder that reconstructs hidden units.

    FCMAE: Woo et al. 2023, section 3.1, with a ConvNeXt V2 block as decoder. SparK: Tian et al. 2023, section 3, with mask
    embeddings at every scale. They differ in encoder and decoder. The papers' sparse convolutions are dense convolutions of
    zero-filled features here (`aeseg.models.sparse`), with equal results.

    encoder   one with masked_mode "sparse"
    decoder   one that accepts `hidden`: convnext | light
    sampler   chooses hidden units: Random (SparK's) | RandomUp (FCMAE's) | Block | Grid (aeseg/masking.py) |
              Selective (aeseg/selective.py)
    unit      side of a unit in pixels; a multiple of the encoder's coarsest stride (the papers: that stride)
    target_mean, target_std   standardise the image before units are normalised; (): the encoder's, as in the papers. A unit is
              normalised over pixels and channels together, so if images share a colour, it is most of the target unless the data's
              own mean and std are set per channel
    content   least content of a hidden unit that enters the loss (`aeseg.targets.counted`); 0: all units, as in the papers

    The target is each unit of the standardised image, normalised to mean 0 and variance 1 (He et al. 2022, section 3, "normalized
    pixels"). The loss is the squared error, averaged over the pixels of a unit and over hidden units. Evaluation hides with a
    constant key; its PSNR replaces only hidden units by predictions. Predictions get the mean and deviation of the true unit, so
    PSNR does not measure these.
    """

    encoder: nn.Module
    decoder: nn.Module
    sampler: masking.Sampler
    unit: int = 32
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    content: float = 0.0

    def __post_init__(self) -> None:
        masked_modes.check_masked_mode(self.encoder, "SparseMasked", ("sparse",))
        targets.check("SparseMasked", self.target_mean, self.target_std, self.content)
        super().__post_init__()

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients of the Means in the loss; PSNR is only logged."""
        return {"squared_error": 1.0}

    def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
        image, valid = batch["image"], batch["valid"]
        hidden = self._hidden(batch, train)
        values = self._values(image, hidden, train)
        seen = self._seen(image)
        mean, deviation = images.patch_statistics(seen)
        counted = targets.counted(hidden, seen, image.shape[-1], self.content)
        means = {"squared_error": objectives.hidden_error(jnp.square(values - (seen - mean) / deviation), counted, valid)}
        if not train:
            means["psnr"] = metrics.psnr(masking.pasted(image, hidden, self.unit, self._prediction(image, values)), image, valid)
        return means

    def denominators(self, batch: Batch) -> dict[str, Array]:
        """Return the weight of each Mean: the number of images that are not padding: an image counts once, whatever units it counts."""
        return dict.fromkeys(("squared_error", "psnr"), objectives.image_count(batch["valid"]))

    def show(self, batch: Batch) -> dict[str, Array]:
        """Return the columns of the run's pictures: image, visible units, hidden units reconstructed, all units reconstructed."""
        image, hidden = batch["image"], self._hidden(batch, train=False)
        prediction = self._prediction(image, self._values(image, hidden, train=False))
        return masking.columns(image, hidden, self.unit, prediction)

    def _hidden(self, batch: Batch, train: bool) -> Bool[Array, "b i j"]:
        if not train:
            return masking.hidden_in(self.sampler, batch, self.unit, jax.random.key(0))
        error = functools.partial(self._unit_error, batch["image"])
        return masking.hidden_in(self.sampler, batch, self.unit, self.make_rng("hidden"), error)

    def _unit_error(self, image: Float[Array, "b h w c"], hidden: Bool[Array, "b i j"]) -> Float[Array, "b i j"]:
        """Return the error of each hidden unit in evaluation mode; 0 for a unit that does not enter the loss."""
        seen = self._seen(image)
        mean, deviation = images.patch_statistics(seen)
        error = jnp.square(self._values(image, hidden, train=False) - (seen - mean) / deviation)
        return jnp.where(targets.counted(hidden, seen, image.shape[-1], self.content), jnp.mean(error, axis=-1), 0)

    def _values(self, image: Float[Array, "b h w c"], hidden: Bool[Array, "b i j"], train: bool) -> Float[Array, "b i j p"]:
        """Return the decoder's prediction for each unit, float32."""
        pyramid = self.encoder(image, train=train, hidden=hidden)
        return images.patches(self.decoder(pyramid, train=train, hidden=hidden).astype(jnp.float32), self.unit)

    def _seen(self, image: Float[Array, "b h w c"]) -> Float[Array, "b i j p"]:
        return images.patches(layers.standardise(image, *self._statistics), self.unit)

    @property
    def _statistics(self) -> targets.Statistics:
        return targets.statistics(self.encoder, self.target_mean, self.target_std)

    def _prediction(self, image: Float[Array, "b h w c"], values: Float[Array, "b i j p"]) -> Float[Array, "b h w c"]:
        """Convert the decoder's values to an image."""
        mean, deviation = images.patch_statistics(self._seen(image))
        seen = images.from_patches(values * deviation + mean, self.unit)
        return layers.unstandardise(seen, *self._statistics)


def recipe(size: str = "small") -> ConfigDict:
    """Return FCMAE on `convnextv2` of a size: tiny (tests), small (CPU; units of 8 pixels), or the paper's eight with units of 32."""
    paper = {"unit": 32, "decoder": "reference"}
    sizes = dict.fromkeys(("atto", "femto", "pico", "nano", "v2_tiny", "base", "large", "huge"), paper)
    fields = choose(size, tiny={"unit": 4, "decoder": "tiny"}, small={"unit": 8, "decoder": "small"}, **sizes)
    return spec(
        SparseMasked,
        encoder=part("aeseg.models.encoders", "convnextv2", size),
        decoder=part("aeseg.models.decoders", "convnext", fields["decoder"]),
        sampler=spec(masking.RandomUp if size in sizes else masking.Random, ratio=0.6),
        unit=fields["unit"],
    )
