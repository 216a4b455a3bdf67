from aeseg import masking
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
    assert (paper.unit, paper.sampler, paper.decoder.width) == (32, masking.Random(0.6), 512)
    variables, _ = traced("method", "spark", "resnet50")
    decoder = variables["params"]["decoder"]
    tokens = {name: leaf.shape for name, leaf in decoder.items() if "mask_token" in name}
    assert tokens == {"mask_token4": (256,), "mask_token8": (512,), "mask_token16": (1024,), "mask_token32": (2048,)}
    assert [decoder[f"projection{stride}"]["kernel"].shape for stride in (4, 8, 16, 32)] == [
        (3, 3, 256, 64),
        (3, 3, 512, 128),
        (3, 3, 1024, 256),
        (1, 1, 2048, 512),
    ]
    assert decoder["pixels"]["kernel"].shape == (1, 1, 16, 3)
