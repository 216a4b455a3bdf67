"""Networks of the table `reference`: autoencoders and segmenters of scenes of 32x32, and fully connected networks of CIFAR-10.

Command   python -m experiments.tables reference --run --rows="code*"
          python -m experiments.pretrain --config=reference:example --workdir=runs/example
          python -m experiments.segment --config=reference:classifier --init=runs/example
Cost      0.01 (dense) to 0.39 s (unet) per step on one core (AMD EPYC, avx512f); 400 steps
Expected  see the table reference in experiments/results/README.md
"""

from ml_collections import ConfigDict

from aeseg import likelihoods
from aeseg.data.colours import PhotometricJitter
from aeseg.data.sources.folder import Folder
from aeseg.data.sources.scenes import CLASSES, Scenes
from aeseg.data.transforms import HorizontalFlip, RandomResizedCrop
from aeseg.methods.denoising import Denoising
from aeseg.methods.quantised import QuantisedAutoencoder
from aeseg.methods.reconstruction import Reconstruction
from aeseg.methods.variational import Variational
from aeseg.models.decoders.convolutional import ConvolutionalDecoder
from aeseg.models.decoders.dense import DenseDecoder
from aeseg.models.decoders.unet import UNetDecoder
from aeseg.models.encoders.convnet import ConvNet
from aeseg.models.encoders.dense import DenseEncoder
from aeseg.models.heads.dense import DenseHead
from aeseg.models.heads.fcn import FCNHead
from aeseg.models.heads.unet import UNetHead
from aeseg.models.quantisers import FiniteScalar
from aeseg.noises import Gaussian, Rounded, Squares
from aeseg.runs.configs import data_config, number, run_config, segmenter_config, warm_adamw
from aeseg.spec import choose, recipe, spec
from aeseg.training.optimiser import adamw

SIDE = 32
IMAGES = 16_384
"""Number of training scenes; `data.fraction` selects the scenes of a run."""
UNLABELLED, LABELLED = 4_096, 128
WIDTHS = (32, 64, 128)
"""Channels of the convolutional autoencoder with a code: half as many as in the example."""
ARGUMENTS = (
    *("convolutional", "dense", "convolutional,cifar10", "dense,cifar10", "example", "denoising"),
    *("restoration", "compression", "generation"),
    *("code", "classifier", "unet", "fcn", "small", "small,none", "small,crops", "small,all"),
)


def get_config(argument: str = "example") -> ConfigDict:
    """Return the config of an autoencoder (pretrains) or a segmenter.

    `convolutional`, `dense`     autoencoders of scenes with a code of 4x4 cells; `,cifar10`: of the images in data/cifar10
    `example`                    the network of the reference example, on scenes
    `denoising`                  a small convolutional network that fills in squares of 8 pixels
    `restoration`                on the encoder of `denoising`: a network that removes noise of sigma 25/255, with skips
    `compression`                ... an autoencoder whose code is 16 of 240 values, so 0.12 bits per pixel
    `generation`                 ... a variational autoencoder
    `code`                       a segmenter with one head for the encoder of either code
    `classifier`, `unet`, `fcn`  segmenters on the example's encoder whose heads have equally many parameters: fully connected, with
                                 skips, and convolutional at stride 8
    `small[,augmentation]`       a small U-Net, trained with none, flips (default), crops and flips, or all augmentations
    """
    name, _, rest = argument.partition(",")
    if name in ("convolutional", "dense", "example", "denoising"):
        return _pretraining(_autoencoder(name), cifar10=rest == "cifar10")
    if name in ("restoration", "compression", "generation"):
        return _use(name)
    return _segmentation(name, rest or "flips")


def _autoencoder(name: str) -> ConfigDict:
    """Return the method of a name; all but `denoising` minimise the example's objective."""
    if name == "denoising":
        method = recipe("aeseg.methods", "denoising")
        method.noise = (spec(Squares, size=8, share=0.6),)
        return method
    example = {
        "encoder": recipe("aeseg.models.encoders", "convnet", "reference"),
        "decoder": recipe("aeseg.models.decoders", "convolutional", "reference"),
    }
    convolutional = {"encoder": spec(ConvNet, widths=WIDTHS, bottleneck=16), "decoder": spec(ConvolutionalDecoder, widths=WIDTHS[::-1])}
    dense = {"encoder": spec(DenseEncoder, width=16), "decoder": spec(DenseDecoder)}
    return spec(Reconstruction, objective="binary_cross_entropy", **choose(name, example=example, convolutional=convolutional, dense=dense))


def _pretraining(method: ConfigDict, cifar10: bool) -> ConfigDict:
    """Return the run of an autoencoder, with the example's optimiser and batches."""
    splits = {name: spec(Folder, root="data/cifar10", images=name, labels="") for name in ("train", "test")}
    data = data_config({**splits, "validation": splits["test"]}) if cifar10 else _scenes(UNLABELLED, (spec(HorizontalFlip),))
    steps = number(390)
    return run_config(
        method,
        data,
        steps=steps,
        batch_size=32,
        window=(SIDE, SIDE),
        optimiser=spec(adamw, learning_rate=1e-3, steps=steps, schedule="constant", weight_decay=0.0),
        evaluate_every=steps,
        save_every=steps,
        keep=1,
        next="reference:small" if "noise" in method else "reference:classifier",
    )


def _use(name: str) -> ConfigDict:
    """Return the run of a network that restores, compresses or generates images, with the steps and the rate of the small segmenter."""
    small = {"encoder": recipe("aeseg.models.encoders", "convnet"), "decoder": recipe("aeseg.models.decoders", "convolutional")}
    residual = {"decoder": spec(UNetDecoder, convolutions=1, initialiser="zeros"), "output": "linear", "predicts": "noise"}
    restoration = {**small, **residual, "noise": (spec(Gaussian, sigma=25 / 255), spec(Rounded))}
    methods = {
        "restoration": spec(Denoising, **restoration),
        "compression": spec(QuantisedAutoencoder, **small, quantiser=spec(FiniteScalar, levels=(8, 6, 5))),
        "generation": spec(Variational, **small, likelihood=spec(likelihoods.Gaussian), warmup=100),
    }
    steps = number(400)
    return run_config(
        methods[name],
        _scenes(UNLABELLED, (spec(HorizontalFlip),)),
        steps=steps,
        batch_size=32,
        window=(SIDE, SIDE),
        optimiser=warm_adamw(2e-3, steps),
        evaluate_every=steps,
        save_every=steps,
        keep=1,
    )


def _segmentation(name: str, augmentation: str) -> ConfigDict:
    """Return the run of a segmenter."""
    example = recipe("aeseg.models.encoders", "convnet", "reference")
    parts = choose(
        name,
        code={"encoder": _autoencoder("convolutional").encoder, "head": spec(FCNHead, classes=8, width=64)},
        classifier={"encoder": example, "head": spec(DenseHead, classes=8, width=15)},
        unet={"encoder": example, "head": spec(UNetHead, classes=8, convolutions=1)},
        fcn={"encoder": example, "head": spec(FCNHead, classes=8, width=358)},
        small={"encoder": recipe("aeseg.models.encoders", "convnet"), "head": recipe("aeseg.models.heads", "unet")},
    )
    crops = (spec(RandomResizedCrop, height=SIDE, width=SIDE, smallest=0.4), spec(HorizontalFlip))
    augmentations = {"none": (), "flips": crops[1:], "crops": crops, "all": (*crops, spec(PhotometricJitter))}
    transforms = choose(augmentation, **{name: {"are": each} for name, each in augmentations.items()})["are"]
    steps = number(400)
    return run_config(
        segmenter_config(parts["head"], parts["encoder"], len(CLASSES)),
        _scenes(LABELLED, transforms),
        steps=steps,
        batch_size=16,
        window=(SIDE, SIDE),
        optimiser=warm_adamw(2e-3 if name == "small" else 1e-3, steps),
        evaluate_every=steps,
        save_every=steps,
        keep=1,
    )


def _scenes(images: int, transforms: tuple[ConfigDict, ...]) -> ConfigDict:
    """Return the data of scenes; `images` of them train."""
    sizes = {"train": IMAGES, "validation": 256, "test": 512}
    splits = {split: spec(Scenes, split=split, records=records, height=SIDE, width=SIDE) for split, records in sizes.items()}
    return data_config(splits, transforms=transforms, fraction=images / IMAGES)
