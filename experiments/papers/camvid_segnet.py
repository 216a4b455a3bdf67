"""Table 1 of Badrinarayanan et al. 2017 ("SegNet"): eight decoders on one encoder, with and without class weights.

Scale `paper` has 360x480 and 64 channels, as published. Scale `cpu` has 72x96 and 16 channels; no paper reports these numbers: compare
only the order of the decoders. Both score the checkpoint with the best global accuracy on validation, with the rules of CamVid's tables
(void left out, always 11 classes).
"""

from aeseg.training.optimiser import NO_DECAY

from . import Row

TITLE = {
    "paper": "SegNet's table 1: CamVid at 360x480, 11 classes, test split (233 images)",
    "cpu": "SegNet's table 1, reduced: CamVid at 72x96, 16 channels, 11 classes, test split (233 images)",
}
METRICS = ("mean_iou_reference", "pixel_accuracy", "class_accuracy", "mean_boundary_f1_reference")
PUBLISHED_METRICS = ("pixel_accuracy", "class_accuracy", "mean_iou_reference", "mean_boundary_f1_reference")
SEEDS = 3
SPLIT = "test"
WEIGHTS = {"median frequency": "median_frequency", "natural": "none"}
PUBLISHED = {
    "segnet_basic": ("SegNet-Basic", (82.7, 62.0, 47.7, 35.78), (84.0, 54.6, 46.3, 36.67)),
    "bilinear": ("Bilinear-Interpolation", (77.9, 61.1, 43.3, 20.83), (82.7, 52.5, 43.8, 23.08)),
    "segnet_addition": ("SegNet-Basic-EncoderAddition", (83.4, 63.6, 48.5, 35.92), (84.2, 56.5, 47.7, 36.27)),
    "segnet_single": ("SegNet-SingleChannelDecoder", (81.2, 60.7, 46.1, 31.62), (83.5, 53.9, 45.2, 32.45)),
    "fcn_basic": ("FCN-Basic", (81.7, 62.4, 47.3, 38.11), (83.9, 55.6, 45.0, 37.33)),
    "fcn_unadded": ("FCN-Basic-NoAddition", (80.5, 58.6, 44.1, 31.96), (82.3, 53.9, 44.2, 29.43)),
    "fcn_unreduced": ("FCN-Basic-NoDimReduction", (84.1, 63.4, 50.1, 37.37), (83.5, 57.3, 47.0, 37.13)),
    "fcn_plain": ("FCN-Basic-NoAddition-NoDimReduction", (80.5, 61.6, 45.9, 30.47), (83.7, 54.8, 45.5, 33.17)),
}
"""{variant: (name, values with median frequency balancing, values without)}, in the order of PUBLISHED_METRICS."""
ADDING = ("segnet_addition", "fcn_basic", "fcn_unreduced")
"""Variants that add the encoder's features.  Since revision 1 they add the features after pooling, as in the paper."""
RECORDED: dict[str, object] = {
    "method.normaliser": "weights",
    "optimiser.weight_decay": 0.0,
    "optimiser.no_decay": NO_DECAY,
    "optimiser.rates": (),
}
"""Fields of the recorded rows at scale `cpu`.  The config has the authors' normaliser, weight decay and learning rates of biases instead;
without these fields, the rows would be measured again."""
TOLERANCE = 3.0
"""Accepted distance from the paper, in points.  Replications of SegNet-Basic and SegNet differ from it by 1 to 4 points."""
CITATION = "Badrinarayanan et al. 2017, table 1"
PICTURE = {PUBLISHED[variant][0]: f"{PUBLISHED[variant][0]}, natural, 72x96" for variant in ("segnet_basic", "fcn_unreduced", "bilinear")}


def _row(variant: str, weights: str, scale: str) -> Row:
    small = scale == "cpu"
    return Row(
        _name(variant, weights, scale),
        "segment",
        f"camvid_segnet:{variant}" + (",small" if small else ""),
        {"class_weights": WEIGHTS[weights], **(RECORDED if small else {})},
        compare="" if variant == "segnet_basic" else _name("segnet_basic", weights, scale),
        scale=scale,
        best=True,
        reference_boundaries=True,
        revision=int(variant in ADDING),
        **({} if small else {"paper": _published(variant, weights), "tolerance": TOLERANCE, "citation": CITATION}),
    )


def _published(variant: str, weights: str) -> dict[str, float]:
    return dict(zip(PUBLISHED_METRICS, PUBLISHED[variant][1 + list(WEIGHTS).index(weights)], strict=True))


def _name(variant: str, weights: str, scale: str) -> str:
    return f"{PUBLISHED[variant][0]}, {weights}" + (", 72x96" if scale == "cpu" else "")


ROWS = tuple(_row(variant, weights, scale) for scale in ("cpu", "paper") for weights in WEIGHTS for variant in PUBLISHED)
ORDERS = {weights: {_name(variant, weights, "cpu"): _published(variant, weights) for variant in PUBLISHED} for weights in WEIGHTS}
"""Published numbers at full size for the small rows: only their orders are compared."""
NOTE = {
    "cpu": """With 1/25 of the paper's pixels and 400 steps, boundary F1 orders the decoders much as in the paper, with and without class
weights. mIoU and global accuracy do not: by these metrics, our networks differ mainly in whether the encoder's features reach the decoder.
The three decoders that add features (EncoderAddition, FCN-Basic, NoDimReduction) lead the five others by 2 to 10 points of mIoU.
SegNet-Basic, third in the paper, is behind Bilinear-Interpolation here, although its boundary F1 is 5 points higher.

Deviations: these rows divide the weighted loss by the sum of weights, which doubles the authors' learning rate. They lack the authors'
weight decay and doubled learning rate of biases. The config now has both; the rows must be measured again. All rows clip gradients at norm
1; without clipping, the loss of FCN-Basic-NoDimReduction is NaN at the sixth step (one seed). Class weights are the median frequency
weights of the 367 images; the weights published with SegNet differ. At this size the boundary tolerance of 0.9 pixels pairs only coinciding
pixels. The three rows that add features were measured last, after they were changed to add pooled features, as in the paper's figure 3;
their seconds were measured on a busy machine.""",
    "paper": """Deviations: gradients are clipped at norm 1, which the paper does not mention; without clipping, FCN-Basic-NoDimReduction
diverges at scale cpu. Class weights are the median frequency weights of the 367 images; the weights published with SegNet differ.""",
}
