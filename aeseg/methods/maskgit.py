"""MaskGIT: a prior over the codes of a quantised autoencoder, learned by predicting hidden codes (Chang et al. 2022, arXiv 2202.04200)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key
from ml_collections import ConfigDict

from aeseg import keys, masking, metrics, objectives, positions
from aeseg.checks import check_field
from aeseg.metrics import Mean
from aeseg.models import layers, transformer
from aeseg.spec import choose, spec
from aeseg.spec import recipe as part
from aeseg.types import Batch

WEIGHTS = "autoencoder"
"""Collection with the weights of the autoencoder, which the optimiser does not see."""
POSITION_SIZE = 0.02
"""Factor of the positions: the standard deviation of the embeddings of codes, which larger positions would hide from the first blocks."""


class CodeTransformer(nn.Module):
    """Transformer from a grid of codes, some of them hidden, to logits of all codes; every position sees all others (section 3.1).

    Deviations: blocks are pre-norm, positions are sine-cosine (so any grid fits), there is no dropout, and the logits have weights of
    their own.
    """

    size: int
    width: int
    depth: int
    heads: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, codes: Int[Array, "b h w"], hidden: Bool[Array, "b h w"], *, train: bool) -> Float[Array, "b h w {self.size}"]:
        b, h, w = codes.shape
        known = jnp.where(hidden, self.size, codes).reshape(b, h * w)  # the code after the last is the mask
        tokens = nn.Embed(self.size + 1, self.width, dtype=self.dtype, embedding_init=transformer.TOKEN, name="token")(known)
        grid = positions.sine_cosine(h, w, self.width)  # type: ignore[call-arg]
        tokens = tokens + jnp.asarray(POSITION_SIZE * grid, self.dtype)[None]
        tokens, _ = transformer.blocks(tokens, self.depth, self.heads, dtype=self.dtype, train=train)
        tokens = transformer.layer_norm(1e-6, self.dtype, "norm")(tokens)
        logits = layers.Dense(self.size, kernel_init=transformer.TOKEN, dtype="float32", name="logits")(tokens)
        return logits.reshape(b, h, w, self.size)


class Frozen(nn.Module):
    """A trained autoencoder, whose weights are constants."""

    autoencoder: nn.Module

    @nn.compact
    def __call__(self, image: Float[Array, "b y x c"], method: str, *arguments: Any) -> Any:
        """Return the result of a method; the shape of `image` is that of the images."""
        weights = self.variable(WEIGHTS, "weights", self._initial, image).value
        return self.autoencoder.clone(parent=None).apply(jax.lax.stop_gradient(weights), *arguments, method=method)

    def _initial(self, image: Float[Array, "b y x c"]) -> dict[str, Any]:
        row = {"image": jnp.zeros_like(image[:1]), "valid": jnp.ones(1, bool), "index": jnp.zeros(1, jnp.int32)}
        return dict(self.autoencoder.clone(parent=None).init(self.make_rng("params"), row, train=False))


class MaskedCodes(nn.Module):
    """Minimise the cross entropy of hidden codes, given the visible ones (Chang et al. 2022, equation 1 and section 3.1).

    Each image hides ceil(cos(pi r / 2) n) of its n codes, with r uniform in [0, 1).  The codes come from a trained autoencoder, whose
    weights are constants in the collection `autoencoder`: the checkpoint of a prior holds everything that sampling needs.

    autoencoder   an autoencoder with `encode` and `decode` (quantised); `pretrain --init` loads its weights
    width, depth, heads   of the transformer
    smoothing     label smoothing (section 4: 0.1)

    `objective` is the sum over hidden codes divided by their expected number, 2 n / pi, so it is nats per hidden code; `cross_entropy` is
    the same without smoothing.  Evaluation hides with a constant key; its PSNR compares the image decoded from visible codes and the
    most likely hidden ones.

    `sample` decodes in `steps` steps; `temperature` is the scale of the Gumbel noise in the choice of codes to keep (the code's 4.5).
    """

    autoencoder: nn.Module
    width: int = 128
    depth: int = 4
    heads: int = 4
    smoothing: float = 0.1
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads"):
            check_field("MaskedCodes", name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        check_field("MaskedCodes", "smoothing", self.smoothing, 0 <= self.smoothing < 1, "0 or more and less than 1")
        super().__post_init__()

    def setup(self) -> None:
        self.frozen = Frozen(self.autoencoder)
        size = self.autoencoder.quantiser.size  # type: ignore[attr-defined]
        self.network = CodeTransformer(size, self.width, self.depth, self.heads, self.dtype)

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients of the Means in the loss; others are only logged."""
        return {"objective": 1.0}

    @property
    def sampling(self) -> dict[str, float]:
        """Defaults of the options of `sample` (Chang et al. 2022, section 4.1 and the code)."""
        return {"temperature": 4.5, "steps": 8}

    def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
        image, valid = batch["image"], batch["valid"]
        codes, hidden = self._hidden(batch, train)
        logits = self.network(codes, hidden, train=train)
        log_probability = jax.nn.log_softmax(logits)
        surprise = -jnp.take_along_axis(log_probability, codes[..., None], axis=-1)[..., 0]  # b h w
        smoothed = (1 - self.smoothing) * surprise - self.smoothing * jnp.mean(log_probability, axis=-1)
        expected = 2 / jnp.pi * codes.shape[1] * codes.shape[2]
        right = hidden & (jnp.argmax(logits, axis=-1) == codes)
        each = {
            "objective": _sums(smoothed, hidden) / expected,
            "cross_entropy": _sums(surprise, hidden) / expected,
            "accuracy": jnp.sum(right, axis=(1, 2)) / jnp.sum(hidden, axis=(1, 2)),
        }
        weight = objectives.image_count(valid)
        means = {name: Mean(jnp.sum(jnp.where(valid, values, 0)), weight) for name, values in each.items()}
        if not train:
            means["psnr"] = metrics.psnr(self._decoded(_filled(codes, hidden, logits), image), image, valid)
        return means

    def denominators(self, batch: Batch) -> dict[str, Array]:
        """Return the weight of each Mean: the number of images that are not padding."""
        return dict.fromkeys(("objective", "cross_entropy", "accuracy", "psnr"), objectives.image_count(batch["valid"]))

    def show(self, batch: Batch) -> dict[str, Array]:
        """Return the columns of the run's pictures: image, its visible codes, the image with the most likely hidden codes, and a sample."""
        image = batch["image"]
        codes, hidden = self._hidden(batch, train=False)
        logits = self.network(codes, hidden, train=False)
        grey = jnp.full_like(image, masking.HIDDEN_COLOUR)
        return {
            "image": image,
            "visible": masking.pasted(self._decoded(codes, image), hidden, image.shape[1] // codes.shape[1], grey),
            "reconstruction": self._decoded(_filled(codes, hidden, logits), image),
            "sample": self.sample(keys.per_row(jax.random.key(1), batch["index"]), image, **self.sampling),  # type: ignore[arg-type]
        }

    def sample(self, key: Key[Array, "b"], image: Float[Array, "b y x c"], temperature: float, steps: int) -> Float[Array, "b y x c"]:
        """Draw images of the size of `image`, each from its key; all codes start hidden (section 3.2)."""
        codes = jnp.zeros_like(self._codes(image))
        return self._decoded(self.completed(key, codes, jnp.ones(codes.shape, bool), temperature, steps), image)

    def between(
        self,
        key: Key[Array, "b"],
        first: Float[Array, "b y x c"],
        second: Float[Array, "b y x c"],
        fraction: Float[Array, "b"],
        temperature: float,
        steps: int,
    ) -> Float[Array, "b y x c"]:
        """Return images between two: some codes of each, the others drawn given these.

        At fraction t, (1 - t)^2 of the codes are the first image's and t^2 the second's, from the left and from the right; the columns
        between them are hidden and decoded.  0 and 1 give the reconstructions of the images.
        """
        codes = self._codes(first), self._codes(second)
        column = (jnp.arange(codes[0].shape[2]) + 0.5).reshape(1, 1, -1) / codes[0].shape[2]
        of_first, of_second = column < jnp.square(1 - fraction)[:, None, None], column > 1 - jnp.square(fraction)[:, None, None]
        mixed, hidden = jnp.where(of_first, *codes), jnp.broadcast_to(~(of_first | of_second), codes[0].shape)
        return self._decoded(self.completed(key, mixed, hidden, temperature, steps), first)

    def completed(
        self, key: Key[Array, "b"], codes: Int[Array, "b h w"], hidden: Bool[Array, "b h w"], temperature: float, steps: int
    ) -> Int[Array, "b h w"]:
        """Decode the hidden codes of each image in `steps` steps (section 3.2, "Iterative Decoding"); the visible codes stay.

        Each step draws all hidden codes, keeps the most confident, and leaves `hidden_after` hidden.  The confidence is the log
        probability of the drawn code plus Gumbel noise, whose scale falls from `temperature` to 0 (code: mask_by_random_topk).
        """
        start = jnp.sum(hidden, axis=(1, 2))

        network, variables = self.network.unbind()

        def decode(carry: tuple[Array, Array], step: Array) -> tuple[tuple[Array, Array], None]:
            codes, hidden = carry
            logits: Any = network.apply(variables, codes, hidden, train=False)
            log_probability = jax.nn.log_softmax(logits)
            rows = jax.vmap(jax.random.fold_in, in_axes=(0, None))(key, step)
            of_code, of_noise = jnp.moveaxis(jax.vmap(jax.random.split)(rows), 1, 0)
            drawn = jax.vmap(jax.random.categorical)(of_code, log_probability)
            noise = jax.vmap(lambda key: jax.random.gumbel(key, codes.shape[1:]))(of_noise)
            confidence = jnp.take_along_axis(log_probability, drawn[..., None], axis=-1)[..., 0]
            confidence = jnp.where(hidden, confidence + temperature * (1 - step / steps) * noise, jnp.inf)
            left = jnp.clip(hidden_after(start, step / steps), 0, jnp.maximum(jnp.sum(hidden, axis=(1, 2)) - 1, 0))
            return (jnp.where(hidden, drawn, codes), _lowest(confidence, left)), None

        (codes, _), _ = jax.lax.scan(decode, (codes, hidden), jnp.arange(1, steps + 1))
        return codes

    def _hidden(self, batch: Batch, train: bool) -> tuple[Int[Array, "b h w"], Bool[Array, "b h w"]]:
        """Return the codes of the images, and which of them are hidden."""
        codes = self._codes(batch["image"])
        rows = keys.per_row(self.make_rng("hidden") if train else jax.random.key(0), batch["index"])
        of_ratio, of_order = jnp.moveaxis(jax.vmap(jax.random.split)(rows), 1, 0)
        total = jnp.full(len(rows), codes.shape[1] * codes.shape[2])
        count = jnp.maximum(hidden_after(total, jax.vmap(jax.random.uniform)(of_ratio)), 1)
        return codes, _lowest(jax.vmap(lambda key: jax.random.uniform(key, codes.shape[1:]))(of_order), count)

    def _codes(self, image: Float[Array, "b y x c"]) -> Int[Array, "b h w"]:
        return self.frozen(image, "encode", image)

    def _decoded(self, codes: Int[Array, "b h w"], image: Float[Array, "b y x c"]) -> Float[Array, "b y x c"]:
        return self.frozen(image, "decode", codes, image.shape[1] // codes.shape[1])


def hidden_after(codes: Int[Array, "b"], progress: Float[Array, "*b"]) -> Int[Array, "b"]:
    """Return how many of the codes are hidden at a progress in [0, 1]: ceil(cos(pi progress / 2) codes) (sections 3.2 and 3.3, cosine).

    The authors' code rounds down in decoding.

    >>> hidden_after(jnp.array([64]), jnp.float32(3 / 8)).item()  # 64 cos(3 pi / 16) = 53.2
    54
    """
    return jnp.ceil(codes * (jnp.cos(jnp.pi / 2 * progress) - 1e-6)).astype(jnp.int32)  # 1e-6: rounding below a whole number


def _lowest(values: Float[Array, "b h w"], count: Int[Array, "b"]) -> Bool[Array, "b h w"]:
    """Mark the `count` smallest values of each image."""
    flat = values.reshape(len(values), -1)
    rank = jnp.argsort(jnp.argsort(flat, axis=1, stable=True), axis=1, stable=True)
    return (rank < count[:, None]).reshape(values.shape)


def _filled(codes: Int[Array, "b h w"], hidden: Bool[Array, "b h w"], logits: Float[Array, "b h w k"]) -> Int[Array, "b h w"]:
    """Return the visible codes, and the most likely hidden ones."""
    return jnp.where(hidden, jnp.argmax(logits, axis=-1).astype(codes.dtype), codes)


def _sums(values: Float[Array, "b h w"], hidden: Bool[Array, "b h w"]) -> Float[Array, "b"]:
    return jnp.sum(jnp.where(hidden, values, 0), axis=(1, 2))


def recipe(size: str = "small") -> ConfigDict:
    """Return a prior of the codes of `quantised` of a size; reference has the paper's transformer (section 4.1)."""
    fields = choose(
        size,
        tiny={"width": 8, "depth": 1, "heads": 2},
        small={"width": 128, "depth": 4, "heads": 4},
        reference={"width": 768, "depth": 24, "heads": 8},
    )
    return spec(MaskedCodes, autoencoder=part("aeseg.methods", "quantised", size), **fields)
