"""DRIVE, official test images, inside the field of view. Published: Sci Rep 2023, s41598-023-50141-0, table 2.

Scale `paper` compares the paper's U-Net (Dice 0.8157) with our U-Net of the same channels, and the paper's three-path U-Net (0.8291) with
our best: the small U-Net, trained ten times as long, from an encoder pretrained by denoising on the same images. The row before it is its
control from scratch. The paper's table has 14 networks, some from other papers; without Wang et al. (0.8687 at the lowest sensitivity,
0.738), they range from 0.7994 to 0.8291. The paper's training recipe was not available; ours is the config `drive`. The last step is
scored, since two validation images are too few to choose a step.
"""

from . import Row

TITLE = {
    "cpu": "DRIVE, 565x584, vessels, the 20 official test images",
    "paper": "DRIVE at length, 565x584, vessels, the 20 official test images",
}
METRICS = ("dice_vessel", "pixel_accuracy", "mean_iou")
SEEDS = 3
SPLIT = "test"
EACH = 1
PICTURE = {"prediction": "U-Net, 16 to 128 channels"}
TABLE = "Sci Rep 2023, s41598-023-50141-0, table 2"
LONG = {"steps": 8000}
"""Ten times as many steps as at scale `cpu`."""
ROWS = (
    Row("U-Net, 16 to 128 channels", "segment", "drive"),
    Row(
        "U-Net, 64 to 1024 channels",
        "segment",
        "drive:unet,reference",
        paper={"dice_vessel": 81.57, "pixel_accuracy": 95.44},
        tolerance=1.0,
        citation=f"U-Net in {TABLE}",
        scale="paper",
    ),
    Row("denoising", "pretrain", "drive:denoising", LONG, scale="paper"),
    Row("U-Net, 16 to 128 channels, long", "segment", "drive", {**LONG, "transfer": "scratch"}, "denoising", scale="paper"),
    Row(
        "U-Net, 16 to 128 channels, long, pretrained",
        "segment",
        "drive",
        LONG,
        "denoising",
        "U-Net, 16 to 128 channels, long",
        paper={"dice_vessel": 82.91, "pixel_accuracy": 95.71},
        tolerance=1.0,
        citation=f"the paper's three-path U-Net in {TABLE}",
        scale="paper",
    ),
)
SPLITS = """18 of the 20 official training images train and two validate. The last step is scored, since two images are too few to choose
a step. Pixels outside the field of view are ignored. Dice is over the pixels of all test images."""
NOTE = {
    "cpu": f"{SPLITS} The first seed took two minutes; the seconds of the others were measured on a busy machine.",
    "paper": f"""{SPLITS} The published networks' recipes for training and scoring were not available; ours train with the config `drive`,
on crops of 96x96. The three-path U-Net's numbers are compared with another architecture.""",
}
