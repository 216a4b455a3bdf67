"""DRIVE, official test images, inside the field of view.  Published: U-Net Dice 0.8157 (Sci Rep 2023, s41598-023-50141-0, table 2)."""

from experiments.papers import Row

TITLE = "DRIVE, 565x584, vessels, the 20 official test images"
METRICS = ("dice_vessel", "pixel_accuracy", "mean_iou")
SEEDS = 1
SPLIT = "test"
EACH = 1
PICTURE = {"prediction": "U-Net, 16 to 128 channels"}
ROWS = (Row("U-Net, 16 to 128 channels", "segment", "drive"),)
