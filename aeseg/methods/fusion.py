"""Fusion: segment from the tokens of several modalities, any of which may be missing."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.methods.segmenter import Segmenter
from aeseg.models.modalities.audio import Audio
from aeseg.models.modalities.image import Image
from aeseg.models.modalities.planes import Planes
from aeseg.models.modalities.text import Text
from aeseg.models.modality_batches import alone, check_modalities, with_modalities
from aeseg.models.neck import unet
from aeseg.spec import choose, spec
from aeseg.spec import recipe as part
from aeseg.types import Batch, Pyramid, UserError


class Fusion(Segmenter):
    """Segmenter of the encoder and adapters that `Multimodal` pretrains (Bachmann et al. 2022, "MultiMAE", section 4).

    modalities   the modalities to read, the image first: modules of aeseg/models/modalities, without `label`

    The encoder sees all tokens that a record has.  At each position, the features are the mean over the tokens of the record's aligned
    modalities (image, planes); text and sound reach the features by attention.  So any subset may be missing; a record without an aligned
    modality has features of 0.  Deviation: the authors concatenate the tokens of their main modalities.  Train with `DropModalities`
    (aeseg/data/planes.py) for subsets that the training records do not have.
    """

    modalities: tuple[nn.Module, ...] = ()

    def __post_init__(self) -> None:
        if not hasattr(self.encoder, "embed_with") or bool(getattr(self.encoder, "outputs", ())):
            raise UserError(f"Fusion needs an encoder of tokens (embed_with), without outputs: vit; got {type(self.encoder).__name__}.")
        check_modalities(self.modalities, "Fusion")
        super().__post_init__()

    def setup(self) -> None:
        self.adapters = {modality.key: modality.clone(parent=None, name=None) for modality in self.modalities[1:]}

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(modality.key for modality in self.modalities[1:])

    def predict(self, image: Float[Array, "b h w c"]) -> Float[Array, "b h w k"]:
        """Return logits from images alone: all other modalities are missing."""
        return self.predict_from(alone(image, self.modalities))

    def show(self, batch: Batch) -> dict[str, Array]:
        """Return the columns of the run's pictures: image, aligned modalities, label, most likely class."""
        return with_modalities(super().show(batch), batch, self.modalities)

    def _pyramid(self, batch: Batch, train: bool) -> Pyramid:
        each = [modality.present(batch) for modality in self.modalities]
        present = jnp.concatenate(each, axis=1)
        order = jnp.argsort(~present, axis=1, stable=True)
        width, dtype = self.encoder.width, self.encoder.dtype
        none = jnp.zeros((present.shape[0], 0, width), dtype)
        others = jnp.concatenate([none, *(adapter(batch, width, dtype) for adapter in self.adapters.values())], axis=1)
        count = jnp.sum(present, axis=1, dtype=jnp.int32)
        encoded = self.encoder.embed_with(batch["image"], others, order, count, train=train)[:, self.encoder.leading :]
        in_place = jnp.take_along_axis(encoded, jnp.argsort(order, axis=1)[..., None], axis=1)
        ends = [sum(one.shape[1] for one in each[: number + 1]) for number in range(len(each) - 1)]
        total, weight = jnp.zeros((), dtype), jnp.zeros((), dtype)
        for modality, one, here in zip(self.modalities, jnp.split(in_place, ends, axis=1), each, strict=True):
            if hasattr(modality, "pixels"):
                total = total + jnp.where(here[..., None], one, 0)
                weight = weight + here[..., None].astype(dtype)
        rows, columns = self.modalities[0].grid(batch)
        features = total / jnp.maximum(weight, 1)
        return {self.encoder.patch: features.reshape(features.shape[0], rows, columns, -1)}


def recipe(size: str = "small", classes: int = 6) -> ConfigDict:
    """Return the segmenter of the modalities of `multimodal`: tiny (tests; also captions and sound), small (CPU; image and depth).

    `config.method.classes` also sets the classes of the head.
    """
    encoder = part("aeseg.models.encoders", "vit", size)
    image = spec(Image, patch=encoder.patch, mean=encoder.mean, std=encoder.std)
    further = choose(size, tiny={"of": (spec(Text), spec(Audio))}, small={"of": ()})["of"]
    method = spec(
        Fusion,
        encoder=encoder,
        head=part("aeseg.models.heads", "unet", size),
        classes=classes,
        neck=(unet(encoder.patch, encoder.width, norm="none" if size == "tiny" else "batch"),),
        modalities=(image, spec(Planes, patch=encoder.patch), *further),
    )
    method.head.classes = method.get_ref("classes")
    return method
