"""Semantic segmentation: the task that pretraining is evaluated on."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg import images, metrics, objectives
from aeseg.metrics import Mean
from aeseg.spec import recipe as part
from aeseg.spec import spec
from aeseg.types import Batch, Pyramid, UserError

OBJECTIVES = {"cross_entropy": ("cross_entropy",), "dice": ("dice_loss",), "cross_entropy_dice": ("cross_entropy", "dice_loss")}


class Segmenter(nn.Module):
    """Segmentation network: encoder, necks and head, trained with a loss per pixel.

    objective          cross_entropy | dice | cross_entropy_dice (their sum; Isensee et al. 2021); both terms are always logged
    class_weights      one weight per class for the cross-entropy; () weights all classes 1
    normaliser         what divides the weighted sum: "weights" (their sum, as in torch) or "pixels" (as in caffe-segnet). With median
                       frequency weights on CamVid, the gradient of "weights" is about twice that of "pixels"
    auxiliary_weight   weight of the mean cross-entropy of the coarser logits, if the head returns any (its field
                       `deep_supervision`; Lee et al. 2015; 0.4 as in PSPNet, Zhao et al. 2017, section 4.2)
    frozen_encoder     keeps the encoder in evaluation mode and stops its gradient: a probe
    neck               modules applied in order to the encoder's pyramid, before the head (aeseg/models/neck.py)

    Logits are resized to the image (bilinear) before the loss, so a pixel has the same weight at any stride of the head.
    """

    encoder: nn.Module
    head: nn.Module
    classes: int
    objective: str = "cross_entropy"
    class_weights: tuple[float, ...] = ()
    normaliser: str = "weights"
    auxiliary_weight: float = 0.4
    frozen_encoder: bool = False
    neck: tuple[nn.Module, ...] = ()

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise UserError(f"objective is one of {', '.join(OBJECTIVES)}; got {self.objective!r}. Set objective to one of these.")
        if self.normaliser not in objectives.NORMALISERS:
            raise UserError(f"normaliser is one of {', '.join(objectives.NORMALISERS)}; got {self.normaliser!r}. Set it to one of these.")
        if self.class_weights and len(self.class_weights) != self.classes:
            raise UserError(
                f"class_weights needs one number for each of the {self.classes} classes; got {len(self.class_weights)}. "
                "Give one per class, or () to weight all classes 1."
            )
        if getattr(self.head, "classes", self.classes) != self.classes:
            raise UserError(
                f"Segmenter has {self.classes} classes; its {type(self.head).__name__} has {self.head.classes}. "
                "Set both to the number of classes in the labels."
            )
        for neck in self.neck:
            neck.check(self.encoder)
        super().__post_init__()

    @property
    def reads(self) -> tuple[str, ...]:
        """The batch entries, beside the image, that a prediction reads."""
        return ()

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients of the Means in the loss; other Means are only logged."""
        terms = dict.fromkeys(OBJECTIVES[self.objective], 1.0)
        return {**terms, "auxiliary_cross_entropy": self.auxiliary_weight} if self._supervises_deeply else terms

    def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
        label, valid = batch["label"], batch["valid"]
        pyramid = self._logits(batch, train)
        finest, *coarser = [self._at_image_size(pyramid[stride], batch) for stride in sorted(pyramid)]
        means = {
            "cross_entropy": objectives.cross_entropy(finest, label, valid, self.class_weights, self.normaliser),
            "dice_loss": objectives.dice_loss(finest, label, valid),
            "accuracy": metrics.accuracy(finest, label, valid),
        }
        if self._supervises_deeply:
            terms = [objectives.cross_entropy(logits, label, valid, self.class_weights, self.normaliser) for logits in coarser]
            total = jnp.asarray(sum(term.total for term in terms) / len(terms))
            means["auxiliary_cross_entropy"] = Mean(total, terms[0].weight)
        return means

    def denominators(self, batch: Batch) -> dict[str, Array]:
        """Return the weight of each Mean, from the labels."""
        label, valid = batch["label"], batch["valid"]
        weight = objectives.cross_entropy_weight(label, valid, self.class_weights, self.normaliser)
        weights = {
            "cross_entropy": weight,
            "dice_loss": objectives.dice_weight(label, valid),
            "accuracy": objectives.cross_entropy_weight(label, valid),
        }
        return {**weights, "auxiliary_cross_entropy": weight} if self._supervises_deeply else weights

    def predict(self, image: Float[Array, "b h w c"]) -> Float[Array, "b h w k"]:
        """Return logits of the size of the image, float32."""
        return self.predict_from({"image": image})

    def predict_from(self, batch: Batch) -> Float[Array, "b h w k"]:
        """Return logits of the size of the image, float32, from all entries of a batch that `reads` names."""
        pyramid = self._logits(batch, train=False)
        return self._at_image_size(pyramid[min(pyramid)], batch)

    def show(self, batch: Batch) -> dict[str, Array]:
        """Return the columns of the run's pictures: image, label, most likely class."""
        prediction = jnp.argmax(self.predict_from(batch), axis=-1).astype(jnp.int32)
        return {"image": batch["image"], "label": batch["label"], "prediction": prediction}

    @property
    def _supervises_deeply(self) -> bool:
        return self.auxiliary_weight != 0 and getattr(self.head, "deep_supervision", 0) > 0

    def _pyramid(self, batch: Batch, train: bool) -> Pyramid:
        return self.encoder(batch["image"], train=train)

    def _logits(self, batch: Batch, train: bool) -> Pyramid:
        pyramid = self._pyramid(batch, train and not self.frozen_encoder)
        if self.frozen_encoder:
            pyramid = jax.lax.stop_gradient(pyramid)
        for neck in self.neck:
            pyramid = neck(pyramid, train=train)
        logits = self.head(pyramid, train=train)
        if 1 in logits:  # pooling pads odd sizes to even, so crop
            h, w = batch["image"].shape[1:3]
            logits = {**logits, 1: logits[1][:, :h, :w]}
        return logits

    def _at_image_size(self, logits: Float[Array, "b _ _ k"], batch: Batch) -> Float[Array, "b h w k"]:
        return images.resize(logits, *batch["image"].shape[1:3])


def recipe(size: str = "small", classes: int = 6) -> ConfigDict:
    """Return a U-Net head on the convnet of a size; `config.method.classes` also sets the classes of the head."""
    head = part("aeseg.models.heads", "unet", size)
    method = spec(Segmenter, encoder=part("aeseg.models.encoders", "convnet", size), head=head, classes=classes)
    method.head.classes = method.get_ref("classes")
    return method
