"""SegNet-Basic and its variants on CamVid, as in table 1 of Badrinarayanan et al. 2017 ("SegNet", section 3.1 and 3.2).

The paper's protocol: 360x480, SGD 0.1 with momentum 0.9, batches of 12, He initialisation, from scratch on the 367 training images;
scored at the checkpoint with the best global accuracy on validation, measured every 1,000 steps. The paper trains until the loss
converges; this config trains for 10,000 steps (327 epochs), as in the authors' solver. Deviation: gradients are clipped at norm 1.
Without clipping, FCN-Basic-NoDimReduction diverges at 72x96 (one seed): in the ninth step, or in the sixth if the sum of weights divides
the loss.

Details that the paper does not give follow the authors' code (caffe-segnet, and the solvers and prototxts of SegNet-Tutorial). The
number of labelled pixels divides the weighted cross-entropy. Weight decay is 5e-4 for kernels and scales of norms, and in
SegNet-Basic also for shifts of norms. Biases of convolutions have twice the learning rate and no decay. Deviation: shifts start at 0
instead of 0.001.

The paper normalises the local contrast of the image, at a scale that it does not give. SegNet-Basic and its variants use
`images.local_contrast` with a Gaussian of 3 pixels. Deviation: the authors' prototxt uses Caffe's LRN instead, which divides each pixel
by the norm of its channels. `segnet`, with VGG16's convolutions, standardises the image; its prototxt has no layer before the first
convolution.

bayesian and bayesian_basic add the dropout of Bayesian SegNet (Kendall et al. 2015, arXiv 1511.02680) to segnet and segnet_basic, with
the same protocol. Evaluate them with --samples=40 to average sampled networks.

Command   python -m experiments.segment --config=camvid_segnet:segnet_basic
          python -m experiments.evaluate --workdir=runs/camvid-segnet-segnet-basic --best
          python -m experiments.predict --workdir=runs/camvid-segnet-bayesian-basic --input=photos --samples=40
          `segnet_basic,small` and others: 16 channels at 72x96, for a CPU; segnet and bayesian have VGG16's convolutions
Cost      small: 40 to 480 s on one core; full size needs an accelerator, and has no recorded row
Expected  82.7 global, 62.0 class, 47.7 mIoU (table 1, median frequency; test split)
"""

from ml_collections import ConfigDict

from aeseg.data.published import camvid_splits
from aeseg.data.transforms import Resize
from aeseg.runs.configs import data_config, number, run_config, segmenter_config
from aeseg.spec import choose, recipe, spec
from aeseg.training.optimiser import sgd

VARIANTS = {
    "segnet_basic": ("segnet", "basic"),
    "segnet_addition": ("segnet", "addition"),
    "segnet_single": ("segnet", "single"),
    "fcn_basic": ("fcn_basic", "small"),
    "fcn_unadded": ("fcn_basic", "unadded"),
    "fcn_unreduced": ("fcn_basic", "unreduced"),
    "fcn_plain": ("fcn_basic", "plain"),
    "bilinear": ("fcn_basic", "bilinear"),
    "segnet": ("segnet", "vgg16"),
    "bayesian": ("segnet", "bayesian"),
    "bayesian_basic": ("segnet", "bayesian_basic"),
}
"""{variant: (file, size) of its head}."""
ENCODERS = {"segnet": "vgg16", "bayesian": "bayesian", "bayesian_basic": "bayesian_basic"}
"""{variant: size of its encoder}, if it differs from SegNet-Basic."""
ARGUMENTS = (*VARIANTS, "segnet_basic,small", "fcn_basic,small", "bayesian_basic,small")
BIASES = ("*convolution*/bias", "head/logits/bias", "head/reduction*/bias", "head/up*/bias")
"""Biases of convolutions.  Caffe calls the biases of norms shifts."""
WIDTH = 16
"""Channels of every level of a small variant."""


def get_config(argument: str = "segnet_basic") -> ConfigDict:
    """Return the config of a variant; `,small` runs on a CPU."""
    variant, _, scale = argument.partition(",")
    head, size = choose(variant, **{name: {"of": of} for name, of in VARIANTS.items()})["of"]
    small = scale == "small"
    encoder = recipe("aeseg.models.encoders", "vgg", ENCODERS.get(variant, "basic"))
    if small:
        encoder.widths = (WIDTH,) * len(encoder.widths)
    resized = (spec(Resize, height=72, width=96),) if small else ()
    steps = number(400 if small else 10_000)
    return run_config(
        segmenter_config(recipe("aeseg.models.heads", head, size), encoder, 11, normaliser="pixels"),
        data_config(camvid_splits(), transforms=resized, evaluation_transforms=resized, threads=2 if small else 8),
        steps=steps,
        batch_size=12,
        window=(72, 96) if small else (360, 480),
        optimiser=spec(
            sgd,
            learning_rate=0.1,
            steps=steps,
            momentum=0.9,
            weight_decay=5e-4,
            no_decay=(*BIASES, "*norm*/bias") if variant in ("segnet", "bayesian") else BIASES,
            clip=1.0,
            rates=(("*norm*", 1.0), ("*bias", 2.0)),
        ),
        class_weights="median_frequency",
        evaluate_every=100 if small else 1000,
        save_every=100 if small else 1000,
        keep=1,
        best="pixel_accuracy",
    )
