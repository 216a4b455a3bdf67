"""Tuning of `camvid_labels`: four trials per method and from scratch, scored on a held-out drive.

CamVid's validation frames are seven seconds of a drive, with training frames between them, whereas two thirds of the test split are a
separate drive. So one drive trains here, and another validates. A third drive, at dusk, is left out.
"""

from .. import papers

TITLE = "Tuning of camvid_labels: CamVid at 72x96, 1/8 of the labels of drive 0016E5 (204 images), scored on drive 0006R0 (101)"
METRICS = ("mean_iou", "pixel_accuracy")
SEEDS = 1
SPLIT = "validation"
HARDER = {
    "reconstruction": ("SSIM and L1", {"method.objective": "ssim_l1"}),
    "denoising": ("squares of 32", {"method.noise[0].size": 32}),
    "spark": ("units of 24", {"method.unit": 24}),
    "fcmae": ("units of 24", {"method.unit": 24}),
}
"""Harder tasks. The config has squared error, squares of 16 and units of 8."""
DUSK, DAY = 62 / 367, 163 / 367
"""Ends of the first two drives, as fractions of the 367 training frames: 62 of 0001TP, 101 of 0006R0, 204 of 0016E5, in this order."""
DRIVES = {
    "data.train.part": (DAY, 1.0),
    "data.validation.images": "train",
    "data.validation.labels": "trainannot",
    "data.validation.list_file": "train.txt",
    "data.validation.part": (DUSK, DAY),
}
THEN = {
    "reconstruction": ("SSIM and L1", 6e-3),
    "denoising": ("squares of 32", 6e-3),
    "spark": ("as it is", 6e-3),
    "fcmae": ("as it is", 6e-3),
}
"""{method: (its best pretraining, the best learning rate from scratch)} of the fourth trial."""
ROWS = papers.tuning("camvid_labels:{}", "camvid_labels", {"data.fraction": 0.125}, HARDER, THEN, ("spark", 4000), DRIVES)
