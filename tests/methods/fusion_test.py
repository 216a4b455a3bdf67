"""aeseg/methods/fusion.py, against the encoder alone and against Multimodal's weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import tree
from aeseg.methods.fusion import Fusion
from aeseg.methods.multimodal import Multimodal
from aeseg.models.cross_decoder import CrossDecoder
from aeseg.models.encoders.convnet import ConvNet
from aeseg.models.encoders.vit import ViT
from aeseg.models.modalities.image import Image
from aeseg.models.modalities.label import Label
from aeseg.models.modalities.planes import Planes
from aeseg.models.modalities.text import Text
from aeseg.types import UserError
from tests.methods import cases as methods
from tests.models.modalities import cases

BATCH = cases.batch()
ENCODER = ViT(width=8, depth=2, heads=2, patch=4, grid=(4, 4))
SENSES = (Image(patch=4), Planes(patch=4), Planes("thermal", patch=4, channels=2), Text())
KEYS = ("image", "depth", "thermal", "caption")


class Head(methods.nn.Module):
    """Logits at stride 4."""

    classes: int = 3

    @methods.nn.compact
    def __call__(self, pyramid, *, train):
        return {4: methods.nn.Conv(self.classes, (1, 1))(pyramid[4])}


def method(modalities=SENSES, **fields):
    return Fusion(**{"encoder": ENCODER.clone(), "head": Head(), "classes": 3, "modalities": modalities, **fields})


def initial(ours, batch=BATCH):
    return jax.jit(lambda: ours.init(jax.random.key(0), batch, train=False))()


@jax.jit
def logits_of(variables, batch):
    return method().apply(variables, batch, method="predict_from")


VARIABLES = initial(method())


def lacking(*missing, batch=BATCH):
    return {**batch, **{f"has_{key}": jnp.full(4, key not in missing) for key in KEYS}}


def test_the_image_alone_is_what_a_segmenter_of_the_encoder_sees():
    """Without other modalities the tokens are those of ViT on the image, in order."""
    found = logits_of(VARIABLES, lacking("depth", "thermal", "caption"))
    pyramid = ENCODER.apply({"params": VARIABLES["params"]["encoder"]}, BATCH["image"], train=False)
    expected = Head().apply({"params": VARIABLES["params"]["head"]}, pyramid, train=False)[4]
    expected = jax.image.resize(expected, (4, 16, 16, 3), "bilinear", antialias=False)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda: method().apply(VARIABLES, BATCH["image"], method="predict"))(), expected, atol=1e-5)


@pytest.mark.parametrize("missing", [("image",), ("depth", "caption"), ("image", "thermal", "caption"), KEYS])
def test_what_is_missing_changes_nothing_and_what_is_there_does(missing):
    present = [key for key in KEYS if key not in missing]
    first = logits_of(VARIABLES, lacking(*missing))
    other = {key: 255 - BATCH[key] if key == "caption" else 1 - BATCH[key] for key in missing}
    np.testing.assert_array_equal(first, logits_of(VARIABLES, {**lacking(*missing), **other}))
    for key in present:
        changed = {key: jnp.flip(BATCH[key], axis=1)}
        aligned = set(present) & {"image", "depth", "thermal"}
        assert bool(np.any(first != logits_of(VARIABLES, {**lacking(*missing), **changed}))) == bool(aligned)
    assert np.isfinite(first).all()


def test_a_record_does_not_see_what_the_others_lack():
    mixed = {**BATCH, "has_depth": jnp.array([True, False, True, False]), "has_image": jnp.array([True, True, False, True])}
    found = logits_of(VARIABLES, {**lacking(), **mixed})
    for row, missing in enumerate([(), ("depth",), ("image",), ("depth",)]):
        np.testing.assert_allclose(found[row], logits_of(VARIABLES, lacking(*missing))[row], atol=1e-5)


def test_its_encoder_and_adapters_are_those_that_multimodal_pretrains():
    pretrained = Multimodal(ENCODER.clone(), SENSES, CrossDecoder(width=8, depth=1, heads=2), visible=12)
    given, ours = (tree.flatten(initial(each)["params"]) for each in (pretrained, method()))
    shared = [name for name in ours if name.startswith(("encoder/", "adapters_"))]
    assert {name.split("/")[0] for name in shared} == {"encoder", "adapters_depth", "adapters_thermal", "adapters_caption"}
    assert {name: ours[name].shape for name in shared} == {name: given[name].shape for name in shared}


def test_all_parts_learn_and_microbatches_add_up():
    batch = {**BATCH, "has_depth": jnp.array([True, False, True, True]), "has_image": jnp.array([True, True, False, True])}
    methods.assert_microbatches_change_nothing(method(), batch)
    _, gradient = methods.loss_and_gradient(method(), VARIABLES, batch)
    assert [path for path, leaf in tree.flatten(gradient).items() if not np.any(leaf)] == []


def test_pictures_show_the_planes_between_image_and_label():
    shown = jax.jit(lambda: method().apply(VARIABLES, BATCH, method="show"))()
    assert list(shown) == ["image", "image_depth", "image_thermal", "label", "prediction"]
    np.testing.assert_allclose(shown["image_depth"][..., 0], BATCH["depth"], atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoder": ConvNet((4,))}, "Fusion needs an encoder of tokens .*; got ConvNet"),
        ({"encoder": ENCODER.clone(outputs=(0, 1))}, "without outputs"),
        ({"modalities": ()}, r"with the image first, every key once, and no label; got \[\]"),
        ({"modalities": (Image(patch=4), Label(3, patch=4))}, r"no label; got \['image', 'label'\]"),
        ({"modalities": (Image(patch=4), Planes(), Planes())}, "every key once"),
    ],
)
def test_what_does_not_fit_is_named(fields, message):
    with pytest.raises(UserError, match=message):
        method(**fields)
