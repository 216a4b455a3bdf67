"""SparK: masked autoencoding of any convolutional network, with features of every scale."""

from ml_collections import ConfigDict

from aeseg import masking
from aeseg.methods.fcmae import SparseMasked
from aeseg.models.decoders.light import LightDecoder
from aeseg.spec import choose, spec
from aeseg.spec import recipe as part

STRIDES = (4, 8, 16, 32)
"""The scales of SparK's decoder (Tian et al. 2023, section 3.2)."""


def recipe(size: str = "small") -> ConfigDict:
    """`SparseMasked` with SparK's decoder (Tian et al. 2023): tiny (tests), small (a CPU: `convnet`, units of 8 pixels),
    convnextv2 (that encoder's small, units of 8 pixels), resnet50, resnet101, v1_small, v1_base (the paper's; units of 32 pixels).
    """
    batch, layer = {"strides": STRIDES}, {"strides": STRIDES, "densify_norm": "layer"}
    name, encoder, unit, decoder = choose(
        size,
        tiny=("convnet", "tiny", 4, {"width": 8}),
        small=("convnet", "small", 8, {"width": 64, "strides": (2, 4, 8)}),
        convnextv2=("convnextv2", "small", 8, {"width": 64, "densify_norm": "layer"}),
        resnet50=("resnet", "resnet50", 32, batch),
        resnet101=("resnet", "resnet101", 32, batch),
        v1_small=("convnextv2", "v1_small", 32, layer),
        v1_base=("convnextv2", "v1_base", 32, layer),
    )
    return spec(
        SparseMasked,
        encoder=part("aeseg.models.encoders", name, encoder),
        decoder=spec(LightDecoder, **decoder),
        sampler=spec(masking.Random, ratio=0.6),
        unit=unit,
    )
