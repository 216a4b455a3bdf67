"""MultiMAE: encode a few tokens of all modalities, and reconstruct the hidden tokens of each."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from ml_collections import ConfigDict

from aeseg import keys, metrics, objectives, positions
from aeseg.metrics import Mean
from aeseg.models.cross_decoder import CrossDecoder
from aeseg.models.modalities.audio import Audio
from aeseg.models.modalities.image import Image
from aeseg.models.modalities.label import Label
from aeseg.models.modalities.planes import Planes
from aeseg.models.modalities.text import Text
from aeseg.spec import choose, spec
from aeseg.spec import recipe as part
from aeseg.types import Batch, UserError


class Seen(NamedTuple):
    """The encoder's tokens: all tokens of all modalities, visible tokens first, and the number of visible tokens."""

    order: Int[Array, "b m"]
    present: Int[Array, "b"]


class Multimodal(nn.Module):
    """Multi-modal masked autoencoder (Bachmann et al. 2022, section 3).

    modalities   the modalities to read and reconstruct, the image first: modules of aeseg/models/modalities
    extra        further outputs, from the tokens of a modality with the same key (the paper: Image(standardised=True))
    decoder      the decoder, copied for each modality and each extra output
    visible      number of tokens per record that the encoder sees, over all modalities
    alpha        parameter of the symmetric Dirichlet distribution that divides them among modalities (section 3.3)

    The encoder is a ViT whose patches are the image's tokens, so a segmenter can load it like any ViT; adapters of other modalities are
    separate.  A record may lack any modality (see aeseg/models/modalities): a missing modality has no visible tokens and no error, and
    the Dirichlet draw is over the others.  If a record has fewer tokens than `visible`, all are visible.

    The loss is the sum of the modalities' errors, each averaged over hidden tokens, then over the records that have the modality.
    Evaluation hides with a constant key.  Deviations: the encoder ends with a norm, as MAE's; if rounding makes too many or too few
    tokens, the difference is drawn from all modalities (the authors' code: from the last).
    """

    encoder: nn.Module
    modalities: tuple[nn.Module, ...]
    decoder: nn.Module
    extra: tuple[nn.Module, ...] = ()
    visible: int = 98
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not hasattr(self.encoder, "embed_with"):
            raise UserError(f"Multimodal needs an encoder of tokens (embed_with): vit; got {type(self.encoder).__name__}.")
        named = [modality.key for modality in self.modalities]
        if not named or named[0] != "image" or len(set(named)) < len(named) or {each.key for each in self.extra} - set(named):
            raise UserError(
                f"modalities has the image first and every key once, and extra no other keys; got {named} and "
                f"{[each.key for each in self.extra]}. Change them in the config."
            )
        if self.visible < 1 or self.alpha <= 0:
            raise UserError(f"Multimodal takes visible of 1 or more and alpha above 0; got {self.visible} and {self.alpha}. Change these.")
        super().__post_init__()

    def setup(self) -> None:
        self.adapters = {modality.key: modality.clone(parent=None, name=None) for modality in self.modalities[1:]}
        self.decoders = {_term(output): self.decoder.clone(parent=None, name=None) for output in self._outputs}

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients of the Means in the loss; PSNR is only logged."""
        return {_term(output): 1.0 for output in self._outputs}

    def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
        seen = self._seen(batch, train)
        values = self._values(batch, seen, train)
        means = {}
        for output in self._outputs:
            hidden = output.present(batch) & ~self._visible(batch, seen)[output.key]
            error = jnp.sum(jnp.where(hidden, output.error(values[_term(output)], batch), 0), axis=1)
            each = metrics.divide(error, jnp.sum(hidden, axis=1).astype(jnp.float32))
            counted = _counted(output, batch)
            means[_term(output)] = Mean(jnp.sum(jnp.where(counted, each, 0)), objectives.image_count(counted))
        if not train:
            picture = self._pictures(batch, seen, values)["reconstruction_image"]
            means["psnr"] = metrics.psnr(picture, batch["image"], _counted(self.modalities[0], batch))
        return means

    def denominators(self, batch: Batch) -> dict[str, Array]:
        """Return the weight of each Mean: the number of records that have the modality and are not padding."""
        weights = {_term(output): objectives.image_count(_counted(output, batch)) for output in self._outputs}
        return {**weights, "psnr": objectives.image_count(_counted(self.modalities[0], batch))}

    def show(self, batch: Batch) -> dict[str, Array]:
        """Return the columns of the run's pictures: the image, and each drawable modality with predicted hidden tokens."""
        seen = self._seen(batch, train=False)
        pictures = self._pictures(batch, seen, self._values(batch, seen, train=False))
        grey = jnp.full_like(self._blank(batch), 0.5)
        visible = self.modalities[0].picture(grey, self._visible(batch, seen)["image"], batch)
        shown = {"image": batch["image"], "image_visible": visible, **pictures}
        return {name: each.clip(0, 1) if jnp.issubdtype(each.dtype, jnp.floating) else each for name, each in shown.items()}

    @property
    def _outputs(self) -> tuple[Any, ...]:
        return (*self.modalities, *self.extra)

    def _blank(self, batch: Batch) -> Float[Array, "b n p"]:
        rows, columns = self.modalities[0].grid(batch)
        return jnp.zeros((batch["image"].shape[0], rows * columns, self.modalities[0].numbers(batch)))

    def _sizes(self, batch: Batch) -> list[int]:
        """Return the number of tokens of each modality."""
        return [rows * columns for rows, columns in self._grids(batch)]

    def _grids(self, batch: Batch) -> list[tuple[int, int]]:
        """Return the rows and columns of each modality's tokens."""
        return [modality.grid(batch) for modality in self.modalities]

    def _seen(self, batch: Batch, train: bool) -> Seen:
        key = self.make_rng("hidden") if train else jax.random.key(0)
        present = [modality.present(batch) for modality in self.modalities]
        return jax.vmap(lambda key, *present: shared_out(key, present, self.visible, self.alpha))(
            keys.per_row(key, batch["index"]), *present
        )

    def _visible(self, batch: Batch, seen: Seen) -> dict[str, Bool[Array, "b n"]]:
        """Return which tokens of each modality the encoder sees."""
        flat = jnp.argsort(seen.order, axis=1) < seen.present[:, None]
        parts = jnp.split(flat, [sum(self._sizes(batch)[:number]) for number in range(1, len(self.modalities))], axis=1)
        return {modality.key: part for modality, part in zip(self.modalities, parts, strict=True)}

    def _encoded(self, batch: Batch, seen: Seen, train: bool) -> Float[Array, "b _ d"]:
        """Return the encoder's output: leading tokens, then visible tokens."""
        dtype, width = self.encoder.dtype, self.encoder.width
        none = jnp.zeros((batch["valid"].shape[0], 0, width), dtype)
        others = jnp.concatenate([none, *(adapter(batch, width, dtype) for adapter in self.adapters.values())], axis=1)
        return self.encoder.embed_with(batch["image"], others, seen.order[:, : self.visible], seen.present, train=train)

    def _values(self, batch: Batch, seen: Seen, train: bool) -> dict[str, Float[Array, "b n p"]]:
        """Return each decoder's values for each token."""
        sizes, encoded = self._sizes(batch), self._encoded(batch, seen, train)
        order = seen.order[:, : self.visible]
        tables = [positions.sine_cosine(rows, columns, self.decoder.width) for rows, columns in self._grids(batch)]
        every = jnp.concatenate([jnp.asarray(table) for table in tables])
        kinds = jnp.concatenate([jnp.full(size, number) for number, size in enumerate(sizes)])
        rank, visible = jnp.argsort(seen.order, axis=1), self._visible(batch, seen)
        values = {}
        for output in self._outputs:
            kind = [modality.key for modality in self.modalities].index(output.key)
            own = rank[:, sum(sizes[:kind]) : sum(sizes[: kind + 1])]
            queries = (own, visible[output.key], jnp.asarray(tables[kind]), kind)
            values[_term(output)] = self.decoders[_term(output)](
                encoded,
                jnp.take(every, order, axis=0),
                jnp.take(kinds, order),
                seen.present,
                queries,
                len(self.modalities),
                output.numbers(batch),
                train=train,
            )
        return values

    def _pictures(self, batch: Batch, seen: Seen, values: dict[str, Array]) -> dict[str, Array]:
        visible = self._visible(batch, seen)
        views = {f"reconstruction_{each.key}": each.picture(values[_term(each)], visible[each.key], batch) for each in self.modalities}
        return {name: picture for name, picture in views.items() if picture is not None}


def shared_out(key: Array, present: list[Bool[Array, "_"]] | tuple[Bool[Array, "_"], ...], visible: int, alpha: float | Array) -> Seen:
    """Divide `visible` tokens of one record among its modalities (Bachmann et al. 2022, section 3.3, "symmetric Dirichlet").

    The number of tokens per modality is a Dirichlet(alpha) draw over the `present` modalities, times `visible`, rounded.  That many
    random tokens of each modality come first; missing tokens come last.
    """
    sizes = [len(each) for each in present]
    having = jnp.stack([jnp.any(each) for each in present])
    drawn = jnp.where(having, jax.random.gamma(jax.random.fold_in(key, 0), alpha, (len(present),)), 0)
    share = drawn / jnp.maximum(jnp.sum(drawn), 1e-30)
    numbers = jnp.round(share * visible)
    noise = jax.random.uniform(jax.random.fold_in(key, 1), (sum(sizes),))
    exists = jnp.concatenate(present)
    start = [sum(sizes[:number]) for number in range(len(sizes))]
    chosen = jnp.concatenate(
        [
            jnp.argsort(jnp.argsort(jnp.where(here, noise[first : first + size], 2.0))) < number
            for first, size, here, number in zip(start, sizes, present, numbers, strict=True)
        ]
    )
    group = jnp.where(exists, jnp.where(chosen, 0.0, 1.0), 2.0)
    return Seen(jnp.argsort(group + noise), jnp.minimum(jnp.sum(exists), visible).astype(jnp.int32))


def _term(output: Any) -> str:
    return f"{output.key}_{output.term}"


def _counted(output: Any, batch: Batch) -> Bool[Array, "b"]:
    """Return which records have weight."""
    return batch["valid"] & jnp.any(output.present(batch), axis=1)


def recipe(size: str = "small") -> ConfigDict:
    """Return MultiMAE of a size: tiny (tests), small (CPU; image and depth), senses (also caption and sound), b16 (the paper's: image,
    depth, 133 classes).

    Five of six tokens are hidden, as in the paper.
    """
    fields = choose(
        size,
        tiny={"patch": 4, "visible": 8, "width": 8, "depth": 1, "heads": 2},
        small={"patch": 8, "visible": 21, "width": 64, "depth": 1, "heads": 4},
        senses={"patch": 8, "visible": 56, "width": 64, "depth": 1, "heads": 4},
        b16={"patch": 16, "visible": 98, "width": 256, "depth": 2, "heads": 8},
    )
    encoder = part("aeseg.models.encoders", "vit", {"senses": "small"}.get(size, size))
    image = {"patch": fields["patch"], "mean": encoder.mean, "std": encoder.std}
    further = {
        "tiny": (spec(Label, classes=2, patch=4, stride=2, embedding=4),),
        "small": (),
        "senses": (spec(Text), spec(Audio)),
        "b16": (spec(Label, classes=133),),
    }[size]
    return spec(
        Multimodal,
        encoder=encoder,
        modalities=(spec(Image, **image), spec(Planes, patch=fields["patch"]), *further),
        decoder=spec(CrossDecoder, **{name: fields[name] for name in ("width", "depth", "heads")}),
        extra=(spec(Image, standardised=True, **image),) if size in ("tiny", "b16") else (),
        visible=fields["visible"],
    )
