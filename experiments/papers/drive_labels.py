"""How much does an autoencoder help, and which one, where one retina, two, four or 18 are labelled?  DRIVE (not a published protocol).

One encoder, one head, as many steps and the same augmentation for all; what differs is where the encoder starts.
"""

from experiments import papers

TITLE = {
    "cpu": "DRIVE, vessels, the 20 official test images: shares of the 18 labels",
    "paper": "DRIVE, vessels, the 20 official test images: shares of the 18 labels, ten times as long",
}
METRICS = ("dice_vessel", "pixel_accuracy", "mean_iou")
SEEDS = 5
SPLIT = "test"
SHARES = {"1 image": 1 / 16, "2 images": 1 / 8, "4 images": 1 / 4, "all": 1.0}
TUNED = {
    "reconstruction": {papers.RATE: 5e-4},
    "denoising": {"method.noise[0].size": 6},
    "spark": {"method.unit": 16},
    "fcmae": {"method.unit": 16},
}
RATES = {**dict.fromkeys(("scratch", "reconstruction", "denoising", "fcmae"), 6e-3), "spark": 2e-3}
"""Of each method's pretraining, and of its segmentation: the best trials of drive_labels_tuning.py."""
COMMON: dict[str, object] = {"steps": 600, "batch_size": 4}
PICTURE = {name: f"{name}, 1 image" for name in ("scratch", *papers.METHODS.values())}
RECONSTRUCTIONS = {name: method for method, name in papers.METHODS.items()}
LONG = {"steps": 6000}
LONGER = {method: {**TUNED.get(method, {}), **LONG} for method in papers.METHODS}
ROWS = (
    *papers.over_labels("drive:{}", "drive", SHARES, TUNED, RATES, COMMON),
    *papers.over_labels("drive:{}", "drive", {**SHARES, "9 images": 1 / 2}, LONGER, RATES, {**COMMON, **LONG}, "paper", ", long"),
)
