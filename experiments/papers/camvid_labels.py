"""How much does an autoencoder help, and which one, the fewer labels there are?  CamVid at 72x96 (not a published protocol).

One encoder, one head, as many steps and the same augmentation for all; what differs is where the encoder starts.
"""

from experiments import papers

TITLE = {
    "cpu": "CamVid at 72x96, 11 classes, test split (233 images): shares of the 367 labels",
    "paper": "CamVid at 360x480, 11 classes, test split (233 images): shares of the 367 labels",
}
METRICS = ("mean_iou", "pixel_accuracy", "class_accuracy")
SEEDS = 5
SPLIT = "test"
SHARES = {"1/60": 1 / 60, "1/16": 1 / 16, "1/8": 1 / 8, "1/4": 1 / 4, "all": 1.0}
TUNED = {"reconstruction": {"method.objective": "ssim_l1"}, "denoising": {"method.noise[0].size": 32}}
RATES = dict.fromkeys(("scratch", *papers.METHODS), 6e-3)
"""Of each method's pretraining, and of its segmentation: the best trials of camvid_labels_tuning.py."""
PICTURE = {name: f"{name}, 1/16" for name in ("scratch", *papers.METHODS.values())}
RECONSTRUCTIONS = {name: method for method, name in papers.METHODS.items()}
ALL_SHARES = {"1/30": 1 / 30, "1/16": 1 / 16, "1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2, "all": 1.0}
ROWS = (
    *papers.over_labels("camvid_labels:{}", "camvid_labels", SHARES, TUNED, RATES, {}),
    *papers.over_labels("camvid_labels:{},large", "camvid_labels:unet,large", ALL_SHARES, {}, {}, {}, "paper", ", 360x480"),
)
