from torch import nn

from aeseg import masking, tree
from aeseg.methods import spark
from aeseg.methods.spark import SparseMasked
from aeseg.models.encoders import convnet, convnextv2, resnet
from aeseg.spec import build
from tests.contract import traced


def test_it_runs_on_convnet_convnextv2_and_resnet():
    encoders = [type(build(spark.recipe(size)).encoder) for size in ("small", "convnextv2", "resnet50")]
    assert encoders == [convnet.ConvNet, convnextv2.ConvNeXtV2, resnet.ResNet]


def test_the_papers_recipe_has_a_mask_embedding_at_each_of_four_scales():
    paper = build(spark.recipe("resnet50"))
    assert isinstance(paper, SparseMasked)
    assert (paper.unit, paper.sampler, paper.decoder.width) == (32, masking.Random(0.6), 768)
    variables, _ = traced("method", "spark", "resnet50")
    decoder = variables["params"]["decoder"]
    tokens = {name: leaf.shape for name, leaf in decoder.items() if "mask_token" in name}
    assert tokens == {"mask_token4": (256,), "mask_token8": (512,), "mask_token16": (1024,), "mask_token32": (2048,)}
    assert [decoder[f"projection{stride}"]["kernel"].shape for stride in (4, 8, 16, 32)] == [
        (3, 3, 256, 96),
        (3, 3, 512, 192),
        (3, 3, 1024, 384),
        (1, 1, 2048, 768),
    ]
    assert decoder["pixels"]["kernel"].shape == (1, 1, 24, 3)


def test_the_decoder_has_as_many_parameters_as_the_authors_and_the_encoders_have_their_drop_path():
    """SparK's code at its head: LightDecoder(32) of width 768, five UNetBlocks; drop path .05, .08, .2, .3 by model."""
    blocks = [
        nn.Sequential(
            nn.ConvTranspose2d(width, width, 4, 2, 1),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width // 2, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width // 2),
        )
        for width in (768, 384, 192, 96, 48)
    ]
    theirs = nn.Sequential(*blocks, nn.Conv2d(24, 3, 1))
    variables, _ = traced("method", "spark", "resnet50")
    decoder = variables["params"]["decoder"]
    ours = {name: leaves for name, leaves in decoder.items() if not name.startswith(("mask_token", "densify", "projection"))}
    assert tree.count(ours) == sum(parameter.numel() for parameter in theirs.parameters())
    sizes = ("resnet50", "resnet101", "v1_small", "v1_base")
    assert [spark.recipe(size).encoder.drop_path for size in sizes] == [0.05, 0.08, 0.2, 0.3]
