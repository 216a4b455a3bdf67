"""Vote: one segmentation network for each modality, whose probabilities are averaged."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.methods.segmenter import Segmenter
from aeseg.metrics import Mean
from aeseg.models import tokens
from aeseg.models.modalities.image import Image
from aeseg.models.modalities.planes import Planes
from aeseg.models.modality_batches import alone, check_modalities, with_modalities
from aeseg.spec import recipe as part
from aeseg.spec import spec
from aeseg.types import Batch, UserError


class Vote(Segmenter):
    """Late fusion: the mean of the softmax of independent networks, over the modalities that a record has.

    modalities   the modalities, the image first, all aligned with it: modules of aeseg/models/modalities

    Encoder, necks and head are copied for each modality.  The loss is the sum of the networks' losses, each over the records that have
    its modality, so each network learns as if alone, except that gradients are clipped together.  Batch norms see missing planes as 0.
    A record without a modality gets equal probabilities.
    """

    modalities: tuple[nn.Module, ...] = ()

    def __post_init__(self) -> None:
        check_modalities(self.modalities, "Vote")
        if further := [modality.key for modality in self.modalities if not hasattr(modality, "pixels")]:
            raise UserError(
                f"Vote needs modalities that are aligned with the image; {further} are not. Remove them from method.modalities."
            )
        super().__post_init__()

    def setup(self) -> None:
        fields = {name: getattr(self, name) for name in Segmenter.__dataclass_fields__ if name not in ("parent", "name")}

        def network() -> Segmenter:
            copies: dict[str, Any] = {name: fields[name].clone(parent=None, name=None) for name in ("encoder", "head")}
            copies["neck"] = tuple(neck.clone(parent=None, name=None) for neck in self.neck)
            return Segmenter(**{**fields, **copies})

        self.networks = {modality.key: network() for modality in self.modalities}

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(modality.key for modality in self.modalities[1:])

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients of each network's Means in the loss; other Means are only logged."""
        terms = super().coefficients
        return {f"{modality.key}_{name}": weight for modality in self.modalities for name, weight in terms.items()}

    def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
        means: dict[str, Mean] = {}
        for modality in self.modalities:
            each = self.networks[modality.key](_part(modality, batch), train=train)
            means |= {f"{modality.key}_{name}": mean for name, mean in each.items()}
        return means

    def denominators(self, batch: Batch) -> dict[str, Array]:
        """Return the weight of each Mean, from the labels of the records that have the modality."""
        weights: dict[str, Array] = {}
        for modality in self.modalities:
            each = super().denominators({**batch, "valid": _valid(modality, batch)})
            weights |= {f"{modality.key}_{name}": weight for name, weight in each.items()}
        return weights

    def predict(self, image: Float[Array, "b h w c"]) -> Float[Array, "b h w k"]:
        """Return the logits of the image's network: all other modalities are missing."""
        return self.predict_from(alone(image, self.modalities))

    def predict_from(self, batch: Batch) -> Float[Array, "b h w k"]:
        """Return the logarithm of the mean probability of the networks whose modality a record has, float32."""
        total, votes = jnp.zeros(()), jnp.zeros(())
        for modality in self.modalities:
            present = tokens.recorded(batch, modality.key)[:, None, None, None]
            total = total + jnp.where(present, jax.nn.softmax(self.networks[modality.key].predict(modality.pixels(batch)), axis=-1), 0)
            votes = votes + present.astype(jnp.float32)
        mean = jnp.where(votes > 0, total / jnp.maximum(votes, 1), 1 / self.classes)
        return jnp.log(jnp.maximum(mean, jnp.finfo(jnp.float32).tiny))

    def show(self, batch: Batch) -> dict[str, Array]:
        """Return the columns of the run's pictures: image, other modalities, label, most likely class."""
        return with_modalities(super().show(batch), batch, self.modalities)


def _valid(modality: Any, batch: Batch) -> Array:
    return batch["valid"] & tokens.recorded(batch, modality.key)


def _part(modality: Any, batch: Batch) -> dict[str, Array]:
    """Return the batch that one network sees."""
    return {"image": modality.pixels(batch), "label": batch["label"], "valid": _valid(modality, batch), "index": batch["index"]}


def recipe(size: str = "small", classes: int = 6) -> ConfigDict:
    """Return a U-Net of a size for the image and one for depth; `config.method.classes` also sets the classes of the head."""
    head = part("aeseg.models.heads", "unet", size)
    encoder = part("aeseg.models.encoders", "convnet", size)
    method = spec(Vote, encoder=encoder, head=head, classes=classes, modalities=(spec(Image), spec(Planes)))
    method.head.classes = method.get_ref("classes")
    return method
