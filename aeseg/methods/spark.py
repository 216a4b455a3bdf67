"""SparK: masked autoencoding of any convolutional network, with features of every scale."""

from ml_collections import ConfigDict

from aeseg import masking
from aeseg.models.decoders.light import LightDecoder
from aeseg.spec import choose, module, spec
from aeseg.spec import recipe as part

SparseMasked = module("aeseg.methods", "fcmae").SparseMasked
"""FCMAE and SparK are the same method with different parts."""

DROP_PATHS = {"resnet50": 0.05, "resnet101": 0.08, "v1_small": 0.2, "v1_base": 0.3}
"""Drop path rate of the last block, by size (SparK's code, pre_train_d)."""


def recipe(size: str = "small") -> ConfigDict:
    """Return `SparseMasked` with SparK's decoder (Tian et al. 2023) of a size.

    tiny (tests), small (CPU; `convnet`, units of 8 pixels), convnextv2 (CPU; small `convnextv2`, units of 8 pixels), resnet50,
    resnet101, v1_small, v1_base (the paper's; units of 32 pixels). These have the drop path rates (pretrain/models/__init__.py) and the
    decoder width of the authors' released code (pretrain/decoder.py: 768).
    """
    cpu, paper = {"width": 64}, {"width": 768, "strides": (4, 8, 16, 32)}  # the scales of section 3.2
    fields = choose(
        size,
        tiny={"encoder": ("convnet", "tiny"), "unit": 4, "decoder": {"width": 8}},
        small={"encoder": ("convnet", "small"), "unit": 8, "decoder": {**cpu, "strides": (2, 4, 8)}},
        convnextv2={"encoder": ("convnextv2", "small"), "unit": 8, "decoder": {**cpu, "densify_norm": "layer"}},
        resnet50={"encoder": ("resnet", "resnet50"), "unit": 32, "decoder": paper},
        resnet101={"encoder": ("resnet", "resnet101"), "unit": 32, "decoder": paper},
        v1_small={"encoder": ("convnextv2", "v1_small"), "unit": 32, "decoder": {**paper, "densify_norm": "layer"}},
        v1_base={"encoder": ("convnextv2", "v1_base"), "unit": 32, "decoder": {**paper, "densify_norm": "layer"}},
    )
    encoder = part("aeseg.models.encoders", *fields["encoder"])
    if size in DROP_PATHS:
        encoder.drop_path = DROP_PATHS[size]
    return spec(
        SparseMasked,
        encoder=encoder,
        decoder=spec(LightDecoder, **fields["decoder"]),
        sampler=spec(masking.Random, ratio=0.6),
        unit=fields["unit"],
    )
