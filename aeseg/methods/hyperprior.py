"""The scale hyperprior: an autoencoder whose quantised features are cheap to store (Ballé et al. 2018, arXiv 1802.01436)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg import keys, metrics, objectives
from aeseg.metrics import Mean
from aeseg.models import entropy, layers
from aeseg.spec import choose, spec
from aeseg.spec import recipe as part
from aeseg.types import Batch, UserError


class HyperEncoder(nn.Module):
    """z from |y|: a 3x3 and two 5x5 convolutions with stride 2, ReLU between (figure 4)."""

    width: int

    @nn.compact
    def __call__(self, latent: Float[Array, "b h w d"]) -> Float[Array, "b _ _ {self.width}"]:
        features = jnp.abs(latent)
        for index, (size, stride) in enumerate(((3, 1), (5, 2), (5, 2))):
            features = layers.Convolution(self.width, size, stride, name=f"convolution{index}")(features)
            features = nn.relu(features) if index < 2 else features
        return features


class HyperDecoder(nn.Module):
    """Log scales of y's `channels` from z, at least as large as y: two transposed convolutions and one 3x3, ReLU between (figure 4).

    Deviations: transposed kernels of 4x4 instead of 5x5; and the logarithm of the scale, where the paper has ReLU.
    """

    width: int

    @nn.compact
    def __call__(self, hyper_latent: Float[Array, "b _ _ {self.width}"], channels: int) -> Float[Array, "b _ _ {channels}"]:
        features = hyper_latent
        for index in range(2):
            features = nn.relu(layers.TransposedConvolution(self.width, initialiser="he", name=f"convolution{index}")(features))
        return layers.Convolution(channels, initialiser="lecun", name="last")(features)


class Hyperprior(nn.Module):
    """Minimise bits per pixel + lambda 255^2 (squared error), for features y that are rounded and coded (section 3).

    y, the encoder's coarsest features, is normal with mean 0 and the scales that the hyper-decoder reads from z; z has a factorised prior.
    Both are rounded.  In training, uniform noise replaces rounding in the rates; deviation: the decoder reads the rounded y,
    with a straight-through gradient (Minnen & Singh 2020, arXiv 2007.08739), as it does in use.

    lmbda   lambda: a larger one gives better images and larger files
    width   channels of z

    `bits` is the rate of y and z, and `hyper_bits` the part of z.  The commands `compress` and `decompress` write and read files.
    """

    encoder: nn.Module
    decoder: nn.Module
    lmbda: float = 0.0067
    width: int = 128

    def __post_init__(self) -> None:
        if self.lmbda <= 0 or self.width < 1:
            raise UserError(
                f"Hyperprior needs a lambda above 0 and a width of 1 or more; got {self.lmbda} and {self.width}. "
                "Set --config.method.lmbda and --config.method.width."
            )
        super().__post_init__()

    def setup(self) -> None:
        self.hyper_encoder = HyperEncoder(self.width)
        self.hyper_decoder = HyperDecoder(self.width)
        self.prior = entropy.FactorisedPrior()

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients of the Means in the loss; others are only logged."""
        return {"bits": 1.0, "squared_error": self.lmbda * 255**2}

    def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
        image, valid = batch["image"], batch["valid"]
        values, bits, hyper_bits = self._coded(batch, train)
        pixels = image.shape[1] * image.shape[2]
        each = {"bits": (jnp.sum(bits, axis=(1, 2, 3)) + jnp.sum(hyper_bits, axis=(1, 2, 3))) / pixels}
        each["hyper_bits"] = jnp.sum(hyper_bits, axis=(1, 2, 3)) / pixels
        means = {name: Mean(jnp.sum(jnp.where(valid, one, 0)), objectives.image_count(valid)) for name, one in each.items()}
        means["squared_error"] = objectives.squared_error(values, image, valid)
        means["psnr"] = metrics.psnr(values, image, valid)
        return means if train else {**means, "ssim": metrics.ssim(values, image, valid)}

    def denominators(self, batch: Batch) -> dict[str, Array]:
        """Return the weight of each Mean: the number of images that are not padding."""
        return dict.fromkeys(("bits", "hyper_bits", "squared_error", "psnr", "ssim"), objectives.image_count(batch["valid"]))

    def show(self, batch: Batch) -> dict[str, Array]:
        """Return the columns of the run's pictures: image, reconstruction, and where the bits are (white: the most of the image)."""
        image = batch["image"]
        values, bits, _ = self._coded(batch, train=False)
        each = jnp.sum(bits, axis=-1, keepdims=True)
        grey = each / jnp.maximum(jnp.max(each, axis=(1, 2), keepdims=True), 1e-9)
        stride = image.shape[1] // bits.shape[1]
        grey = jnp.repeat(jnp.repeat(grey, stride, axis=1), stride, axis=2)
        return {"image": image, "reconstruction": values.clip(0, 1), "spent bits": grey}

    def latent(self, image: Float[Array, "b _ _ c"]) -> Float[Array, "b h w d"]:
        """Return y of images, not rounded."""
        pyramid = self.encoder(image, train=False)
        return pyramid[max(pyramid)].astype(jnp.float32)

    def _coded(self, batch: Batch, train: bool) -> tuple[Float[Array, "b y x c"], Float[Array, "b h w d"], Float[Array, "b i j e"]]:
        """Return (reconstruction, bits of y, bits of z)."""
        pyramid = self.encoder(batch["image"], train=train)
        stride = max(pyramid)
        latent = pyramid[stride].astype(jnp.float32)
        hyper_latent = self.hyper_encoder(latent)
        rounded = latent + jax.lax.stop_gradient(jnp.round(latent) - latent)
        if train:
            near, hyper = (_noisy(self.make_rng(name), each, batch) for name, each in (("noise", latent), ("sample", hyper_latent)))
        else:
            near, hyper = rounded, jnp.round(hyper_latent)
        scales = self.hyper_decoder(hyper, latent.shape[-1])[:, : latent.shape[1], : latent.shape[2]]
        bits = entropy.bits(entropy.gaussian_mass(near, entropy.in_range(scales)))
        values = self.decoder({stride: rounded}, train=train).astype(jnp.float32)
        return values, bits, entropy.bits(self.prior(hyper))


def _noisy(key: Array, values: Float[Array, "b h w d"], batch: Batch) -> Float[Array, "b h w d"]:
    """Add uniform noise in [-0.5, 0.5], drawn for each row."""
    rows = keys.per_row(key, batch["index"])
    return values + jax.vmap(lambda key: jax.random.uniform(key, values.shape[1:], minval=-0.5, maxval=0.5))(rows)


def recipe(size: str = "small") -> ConfigDict:
    """Return the hyperprior of a size: tiny (tests), small (CPU), reference (the paper's for low rates)."""
    fields = choose(size, tiny={"width": 4, "lmbda": 1e-4}, small={"width": 48}, reference={"width": 128})
    return spec(
        Hyperprior, encoder=part("aeseg.models.encoders", "gdn", size), decoder=part("aeseg.models.decoders", "gdn", size), **fields
    )
