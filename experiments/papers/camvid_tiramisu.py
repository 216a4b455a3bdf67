"""CamVid from scratch in two stages (Jegou et al. 2017, "Tiramisu", table 3): FC-DenseNets, U-Net and ENet with one recipe.

Scale `paper` trains on 224x224 crops, then on 360x480, as published. Scale `cpu` has small networks at 72x96; no paper reports these
numbers: compare only the effects of the second stage and of batch norm statistics. Each network has three rows: after the crops, after
the whole images, and the same run with per-image batch norm statistics. FC-DenseNet's authors evaluate with per-image statistics, so
their numbers are in the third row. The numbers of U-Net and ENet come from other recipes and have a wider tolerance.
"""

from . import Row

TITLE = {
    "paper": "CamVid at 360x480 in two stages, 11 classes, test split (233 images)",
    "cpu": "CamVid in two stages, reduced: small networks at 72x96, 11 classes, test split (233 images)",
}
METRICS = ("mean_iou_reference", "pixel_accuracy", "class_accuracy")
SEEDS = {"paper": 1, "cpu": 3}
SPLIT = "test"
TIRAMISU = "Jegou et al. 2017, table 3"
PUBLISHED = {
    "fc_densenet56": ({"mean_iou_reference": 58.9, "pixel_accuracy": 88.9}, 3.0, TIRAMISU),
    "fc_densenet67": ({"mean_iou_reference": 65.8, "pixel_accuracy": 90.8}, 3.0, TIRAMISU),
    "fc_densenet103": ({"mean_iou_reference": 66.9, "pixel_accuracy": 91.5}, 3.0, TIRAMISU),
    "unet": (
        {"mean_iou_reference": 49.83, "pixel_accuracy": 84.38, "class_accuracy": 62.8},
        5.0,
        "a replication with another recipe, GitLanx/Semantic-Segmentation-PyTorch",
    ),
    "enet": ({"mean_iou_reference": 51.3}, 5.0, "Paszke et al. 2016, another recipe; quoted from memory, confirmed by CGNet's README"),
}
"""{network: (published values, tolerance in points, source)}.  SWAG's replication of FC-DenseNet67 has 64.6 mIoU."""
NAMES = {
    "paper": {
        "fc_densenet56": "FC-DenseNet56",
        "fc_densenet67": "FC-DenseNet67",
        "fc_densenet103": "FC-DenseNet103",
        "unet": "U-Net",
        "enet": "ENet",
    },
    "cpu": {"small_fc_densenet": "FC-DenseNet, small", "small_unet": "U-Net, small", "small_enet": "ENet, small"},
}
OWN = "fc_densenet"
"""Prefix of the networks whose authors evaluate with per-image statistics."""
PICTURE = {name.removesuffix(", small"): f"{name}, whole images" for name in NAMES["cpu"].values()}


def _rows(network: str, scale: str) -> tuple[Row, ...]:
    """Return three rows: after the crops, after the whole images, and the latter scored with per-image statistics."""
    name, config = NAMES[scale][network], f"camvid_tiramisu:{network}"
    crops = Row(f"{name}, crops", "segment", config, scale=scale, best=True)
    whole = Row(f"{name}, whole images", "segment", f"{config},full", init=crops.name, compare=crops.name, scale=scale, best=True)
    own = whole._replace(name=f"{name}, own statistics", command="evaluate", init=whole.name, compare=whole.name, batch_statistics=True)
    if network in PUBLISHED:
        numbers, tolerance, citation = PUBLISHED[network]
        published = {"paper": numbers, "tolerance": tolerance, "citation": citation}
        if network.startswith(OWN):
            own = own._replace(**published)
        else:
            whole = whole._replace(**published)
    return crops, whole, own


ROWS = tuple(row for scale, networks in NAMES.items() for network in networks for row in _rows(network, scale))
STAGES = """The second stage starts from the last step of the first, not from its best. The best step of each stage is chosen on validation
with running averages of batch norm. "Own statistics" scores the second stage's best step again: batch norm takes its mean and variance
from each test image itself."""
NOTE = {
    "cpu": f"""The statistics of batch norm matter as much as the second stage, and their effect depends on the network. With each test
image's own statistics, FC-DenseNet gains 2.9 ± 0.8 points, as its authors report; U-Net loses 5.1 ± 2.0 and ENet 0.5 ± 0.2. The second
stage adds 1.3 ± 3.7, 4.6 ± 7.2 and 0.0 ± 0.3 points, none beyond its interval over three seeds. Both stages are short: 6 epochs of crops of
48x48 and 3 of whole images of 72x96. ENet learns little in this time. Seconds were measured on a busy machine.

{STAGES}""",
    "paper": f"""Deviations from Jegou et al. 2017: the number of epochs is fixed, 750 of crops and 200 of whole images (the authors stop
after 150 without improvement, at most 750); the learning rate falls per step, not per epoch; the scales of norms are not decayed; U-Net's
whole images are padded to 368x480, which its four poolings divide. {STAGES} FC-DenseNet's authors evaluate in this way, so this row has
their numbers. The numbers of U-Net and ENet come from other recipes.""",
}
