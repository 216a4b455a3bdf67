"""Tuning of `drive_labels`: four trials per method and from scratch, scored on the two validation images."""

from .. import papers

TITLE = "Tuning of drive_labels: DRIVE, 2 of 18 labelled images, validation split (2 images)"
METRICS = ("dice_vessel", "pixel_accuracy")
SEEDS = 1
SPLIT = "validation"
HARDER = {
    "reconstruction": ("SSIM and L1", {"method.objective": "ssim_l1"}),
    "denoising": ("squares of 6", {"method.noise[0].size": 6}),
    "spark": ("units of 16", {"method.unit": 16}),
    "fcmae": ("units of 16", {"method.unit": 16}),
}
"""Harder tasks. The config has squared error, squares of 16 and units of 8."""
THEN = {
    "reconstruction": ("rate 0.0005", 6e-3),
    "denoising": ("squares of 6", 6e-3),
    "spark": ("units of 16", 6e-3),
    "fcmae": ("units of 16", 6e-3),
}
"""{method: (its best pretraining, the best learning rate from scratch)} of the fourth trial."""
FIELDS = {"data.fraction": 0.125, "steps": 600, "batch_size": 4}
ROWS = papers.tuning("drive:{}", "drive", FIELDS, HARDER, THEN, ("denoising", 3200), given={"spark": papers.COLOUR, "fcmae": papers.COLOUR})
