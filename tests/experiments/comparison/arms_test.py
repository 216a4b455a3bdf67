"""experiments/comparison/arms.py: the arms of a comparison; arms of an encoder differ only in their weights."""

from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict

from aeseg import spec
from aeseg.data.sources.folder import Folder
from aeseg.importers import families
from aeseg.runs import init, own_data
from aeseg.types import UserError
from experiments import compare
from experiments.comparison import arms as arms_of
from experiments.comparison import data, settings
from tests.importers.cases import random_variables

STATISTICS = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}


@pytest.fixture
def weights(tmp_path):
    """A directory of public weights: a tiny ViT as transformers saves it, random."""
    node = spec.recipe("aeseg.models.encoders", "vit", "tiny")
    node.update(positions="learned", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    families.save(str(tmp_path / "tiny-vit"), ConfigDict({"encoder": node}), random_variables(families.shapes(node, (16, 16), 3)))
    return str(tmp_path / "tiny-vit")


def images(channels=3):
    source = spec.plain(spec.spec(Folder, root=".", class_table="a, b", channels=channels))
    description = {"source": source, "train": {}, "validation": {}, "test": {}}
    return SimpleNamespace(classes=("a", "b"), train=range(10), description=description, bare=own_data.images_alone(description))


def test_each_encoder_has_a_scratch_arm_and_a_longer_scratch_arm():
    found = arms_of.chosen("denoising spark masked", [], STATISTICS, 3)
    assert [arm.name for arm in found] == [
        *("scratch, convnet", "longer scratch, convnet", "denoising, convnet", "spark, convnet"),
        *("scratch, vit", "longer scratch, vit", "masked, vit"),
    ]
    assert {arm.against for arm in found if arm.encoder == "vit"} == {"", "scratch, vit"}
    assert all(tuple(arm.node.mean) == STATISTICS["mean"] for arm in found), "images are standardised by their own statistics"


def test_encoders_of_two_sizes_are_two_encoders():
    found = arms_of.chosen("denoising denoising,tiny", [], STATISTICS, 3)
    assert {arm.encoder for arm in found} == {"convnet", "convnet 2"}


def test_public_weights_make_an_arm_unchanged_and_an_arm_pretrained_further(weights):
    found = arms_of.chosen("", [weights], STATISTICS, 3)
    assert [arm.name for arm in found] == [
        *("scratch, tiny-vit", "longer scratch, tiny-vit", "public, tiny-vit", "public then masked, tiny-vit")
    ]
    assert all(tuple(arm.node.mean) == (0.5, 0.5, 0.5) for arm in found), "images are standardised by the weights' preprocessor"
    assert compare.window(0, 70, arms_of.units(found)) == 64


def test_arms_of_an_encoder_differ_only_in_their_weights(weights):
    for words, public in (("simmim masked", []), ("", [weights])):
        methods = set()
        for arm in arms_of.chosen(words, public, STATISTICS, 3):
            config = settings.segmentation(images(), arm, (32, 32), 8, 10, 1e-3, 4, 1)
            if arm.public:
                init.weights(config, {}, arm.public, "encoder")
            methods.add(spec.to_json(config.method))
        assert len(methods) == 1


def test_a_pretraining_has_the_images_channels_and_no_labels():
    [*_, denoising] = arms_of.chosen("denoising", [], {"mean": (0.5,), "std": (0.2,)}, 5)
    config = settings.pretraining(images(5), denoising, (32, 32), 8, 10)
    assert config.method.decoder.channels == 5
    assert config.data.source.images_only


def test_pretraining_also_uses_images_without_a_label():
    description = images().description
    description["source"]["only_labelled"] = True
    description |= {split: {"list_file": f"{split}.txt"} for split in ("train", "validation", "test")}
    bare = own_data.images_alone(description)
    assert bare["source"]["images_only"]
    assert bare["train"] == {"apart_from": ("validation.txt", "test.txt")}
    kept = data.Kept(Listed(["a.png", "b.png", "c.png"]), Listed(["b.png"]), Listed([]))
    assert [kept[index]["name"] for index in range(len(kept))] == ["a.png", "c.png"], "images of other splits are left out"


class Listed:
    """A source of files."""

    def __init__(self, names):
        self.image_files = names

    def __len__(self):
        return len(self.image_files)

    def __getitem__(self, index):
        return {"name": self.image_files[index]}


def test_heads_and_an_empty_list_are_refused():
    with pytest.raises(UserError, match=r"Expected autoencoders; 'upernet,vit' is a head\. Set --arms"):
        arms_of.chosen("upernet,vit", [], STATISTICS, 3)
    with pytest.raises(UserError, match="Expected something to compare"):
        arms_of.chosen("", [], STATISTICS, 3)
