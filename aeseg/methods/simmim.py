"""SimMIM: masked image modelling with any encoder and a linear decoder."""

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


class SimMIM(nn.Module):
    """SimMIM (Xie et al. 2022, section 3): L1 loss on hidden pixels.

    The encoder sees the image with its hidden units masked.

    sampler   chooses hidden units: Random | RandomUp (the paper's) | Block | Grid (aeseg/masking.py) |
              Selective (aeseg/selective.py)
    unit      side of a unit in pixels; a multiple of the encoder's patch
    target_mean, target_std   standardise the target; (): the encoder's (see `fcmae.SparseMasked`)
    content   least content of a hidden unit that enters the loss (`aeseg.targets.counted`); 0: all units, as in the paper

    Encoders with masked_mode "sparse" return zeros at hidden positions, so the paper's linear decoder sees nothing there: use a
    decoder with a wider receptive field, such as `unet`. Evaluation hides with a constant key; its PSNR replaces only hidden pixels
    by predictions.
    """

    encoder: nn.Module
    decoder: nn.Module
    sampler: masking.Sampler
    unit: int = 32
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    content: float = 0.0

    def __post_init__(self) -> None:
        masked_modes.check_masked_mode(self.encoder, "SimMIM")
        targets.check("SimMIM", self.target_mean, self.target_std, self.content)
        super().__post_init__()

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients of the Means in the loss; PSNR is only logged."""
        return {"absolute_error": 1.0}

    def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
        image, valid = batch["image"], batch["valid"]
        hidden = self._hidden(batch, train)
        values = self._values(image, hidden, train)
        seen = layers.standardise(image, *self._statistics)
        counted = targets.counted(hidden, images.patches(seen, self.unit), image.shape[-1], self.content)
        means = {"absolute_error": objectives.hidden_error(jnp.abs(values - seen), masking.spread(counted, self.unit), valid)}
        if not train:
            prediction = layers.unstandardise(values, *self._statistics)
            means["psnr"] = metrics.psnr(masking.pasted(image, hidden, self.unit, prediction), image, valid)
        return means

    def denominators(self, batch: Batch) -> dict[str, Array]:
        """Return the weight of each Mean: the number of images that are not padding: an image counts once, whatever pixels it counts."""
        return dict.fromkeys(("absolute_error", "psnr"), objectives.image_count(batch["valid"]))

    def show(self, batch: Batch) -> dict[str, Array]:
        """Return the columns of the run's pictures: image, visible pixels, hidden pixels reconstructed, all reconstructed."""
        image, hidden = batch["image"], self._hidden(batch, train=False)
        prediction = layers.unstandardise(self._values(image, hidden, train=False), *self._statistics)
        return masking.columns(image, hidden, self.unit, prediction)

    @property
    def _statistics(self) -> targets.Statistics:
        return targets.statistics(self.encoder, self.target_mean, self.target_std)

    def _hidden(self, batch: Batch, train: bool) -> Bool[Array, "b h w"]:
        if not train:
            return masking.hidden_in(self.sampler, batch, self.unit, jax.random.key(0))
        error = functools.partial(self._unit_error, batch["image"])
        return masking.hidden_in(self.sampler, batch, self.unit, self.make_rng("hidden"), error)

    def _unit_error(self, image: Float[Array, "b _ _ c"], hidden: Bool[Array, "b h w"]) -> Float[Array, "b h w"]:
        """Return the error of each hidden unit in evaluation mode; 0 for a unit that does not enter the loss."""
        seen = layers.standardise(image, *self._statistics)
        error = images.patches(jnp.abs(self._values(image, hidden, train=False) - seen), self.unit)
        counted = targets.counted(hidden, images.patches(seen, self.unit), image.shape[-1], self.content)
        return jnp.where(counted, jnp.mean(error, axis=-1), 0)

    def _values(self, image: Float[Array, "b _ _ c"], hidden: Bool[Array, "b h w"], train: bool) -> Float[Array, "b _ _ c"]:
        return self.decoder(self.encoder(image, train=train, hidden=hidden), train=train).astype(jnp.float32)


def recipe(size: str = "small") -> ConfigDict:
    """Return SimMIM of a size: tiny (tests), small (CPU; units of 16 pixels, patches of 8), b16 (the paper's ViT-B; units of 32).

    b16 follows the authors' config (simmim_pretrain__vit_base__img224__800ep.yaml) and code. Deviations: fixed positions (theirs:
    learned relative positions, shared by all blocks), and biases of keys.
    """
    fields = choose(size, tiny={"unit": 4}, small={"unit": 16}, b16={"unit": 32})
    encoder = part("aeseg.models.encoders", "vit", size)
    encoder.has_mask_token = True
    if size == "b16":
        encoder.update(layer_scale=0.1, drop_path=0.1, initialiser="depth")
    return spec(
        SimMIM,
        encoder=encoder,
        decoder=part("aeseg.models.decoders", "linear", size),
        sampler=spec(masking.RandomUp if size == "b16" else masking.Random, ratio=0.6),
        **fields,
    )
