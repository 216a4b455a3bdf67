"""The smallest family: `ConvNet` as an encoder, in an autoencoder, and in a segmenter, under PyTorch's names."""

from aeseg.importers.rules import Rule
from aeseg.methods.reconstruction import Reconstruction
from aeseg.methods.segmenter import Segmenter
from aeseg.models.decoders.convolutional import ConvolutionalDecoder
from aeseg.models.encoders.convnet import ConvNet
from aeseg.models.heads.linear import LinearHead
from aeseg.spec import spec
from aeseg.types import UserError

architectures = ("ToyModel", "ToyForReconstruction", "ToyForSegmentation")
ignored = ("classifier.*", "*.num_batches_tracked")
prefix = "toy."


def spec_of(config):
    encoder = spec(ConvNet, widths=tuple(config["widths"]), norm="batch", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    if config["architectures"] == ["ToyModel"]:
        return encoder
    if config["architectures"] == ["ToyForReconstruction"]:
        return spec(Reconstruction, encoder=encoder, decoder=spec(ConvolutionalDecoder, widths=tuple(config["widths"][::-1])))
    return spec(Segmenter, encoder=encoder, head=spec(LinearHead, classes=config["labels"], stride=4), classes=config["labels"])


def config_of(described):
    kind = described.target.partition(":")[2]
    if kind not in ("ConvNet", "Reconstruction", "Segmenter"):
        raise UserError(f"Toy is a ConvNet, a Reconstruction or a Segmenter; this is {kind}.")
    if kind == "Segmenter" and "stride" not in described.head:
        raise UserError(f"Toy has a linear head; this is {described.head.target}.")
    encoder = described if kind == "ConvNet" else described.encoder
    name = {"ConvNet": "ToyModel", "Reconstruction": "ToyForReconstruction", "Segmenter": "ToyForSegmentation"}[kind]
    labels = {"labels": described.classes} if kind == "Segmenter" else {}
    return {"architectures": [name], "model_type": "toy", "widths": list(encoder.widths), "image_size": 16, **labels}


def rules(described):
    found = [*_layer("toy.level.{i}", "encoder/level{i}", "/convolution0", "/norm0")]
    if described.target.endswith(":Reconstruction"):
        found += [*_convolution("decoder.layer.{i}", "decoder/convolution{i}"), *_convolution("decoder.last", "decoder/last")]
    if described.target.endswith(":Segmenter"):
        found += _layer("head", "head", "/logits", "/norm")
    return found


def _layer(theirs, ours, convolution, norm):
    names = {
        "weight": "params/{}/scale",
        "bias": "params/{}/bias",
        "running_mean": "batch_stats/{}/mean",
        "running_var": "batch_stats/{}/var",
    }
    norms = [Rule(f"{theirs}.norm.{name}", path.format(ours + norm)) for name, path in names.items()]
    return [*_convolution(f"{theirs}.convolution", ours + convolution), *norms]


def _convolution(theirs, ours):
    return [Rule(f"{theirs}.weight", f"params/{ours}/kernel", "convolution"), Rule(f"{theirs}.bias", f"params/{ours}/bias")]
