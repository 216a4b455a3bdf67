"""CamVid from scratch in two stages (Jegou et al. 2017, "Tiramisu", table 3): FC-DenseNets, U-Net and ENet by one recipe.

At scale `paper` 224x224 crops, then 360x480, as published; at scale `cpu` small networks at 72x96, whose numbers are nobody else's: what
may be compared there is what the second stage and the statistics of batch norm do.  Each network has three rows: after the crops; after
the whole images; and the same run with batch norm by each image's own statistics, which is how FC-DenseNet's authors evaluate, so that
their numbers stand there.  Those of U-Net and ENet were reached by other recipes, hence their wider tolerance.
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
        "a replication by another recipe, GitLanx/Semantic-Segmentation-PyTorch",
    ),
    "enet": ({"mean_iou_reference": 51.3}, 5.0, "Paszke et al. 2016, from memory, by another recipe; CGNet's README bears it out"),
}
"""Network: its numbers, how many points ours may be away, and where they stand.  A replication of FC-DenseNet67 has 64.6 mIoU (SWAG's)."""
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
"""Whose authors evaluate with each image's own statistics."""
PICTURE = {name.removesuffix(", small"): f"{name}, whole images" for name in NAMES["cpu"].values()}


def _rows(network: str, scale: str) -> tuple[Row, ...]:
    """After the crops, after the whole images, and scored with the statistics of each image."""
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
STAGES = """The second stage goes on from the last step of the first, not from its best.  The best step of each stage is found on
validation by the running averages of batch norm; "own statistics" scores the second stage's best step once more, and there batch norm
takes mean and variance from each test image itself."""
NOTE = {
    "cpu": f"""Whose statistics batch norm takes matters as much as the second stage, and whom it helps differs: with each test image's own
FC-DenseNet gains 2.9 ± 0.8 points, as its authors would have it, U-Net loses 5.1 ± 2.0 and ENet 0.5 ± 0.2.  The second stage is worth
1.3 ± 3.7, 4.6 ± 7.2 and 0.0 ± 0.3 points, none beyond its interval over three seeds.  Both stages are short: 6 epochs of crops of 48x48,
then 3 of whole images of 72x96, in which ENet learns little.  The seconds are those of a busy machine.

{STAGES}""",
    "paper": f"""How the rows deviate from Jegou et al. 2017: the epochs are fixed, 750 of crops and 200 of whole images, where the authors
had 750 at most and stopped after 150 without a better one; the rate falls with each step, not each epoch; the scales of norms are
not decayed; U-Net's whole images are padded to 368x480, which its four poolings halve.  {STAGES}  So FC-DenseNet's authors evaluate,
and their numbers stand there; those of U-Net and ENet were reached by other recipes.""",
}
