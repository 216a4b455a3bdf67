"""DRIVE, official test images, inside the field of view.  Published: Sci Rep 2023, s41598-023-50141-0, table 2.

At scale `paper` its U-Net (Dice 0.8157) stands beside ours with the same channels, and its own three-path U-Net (0.8291) beside the best
that the project has to offer: the small U-Net, ten times as long, from an encoder that denoising has pretrained on the same images; the
control from scratch is above it.  That table has 14 networks, from others' papers too: without Wang et al. (0.8687 at a sensitivity of
0.738, the lowest) they are within 0.7994 and 0.8291.  How the paper trained is not at hand; ours is the recipe of `drive`.  The last
step is scored, for two images are too few to choose by.
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
"""Ten times as many as at scale `cpu`."""
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
        citation=f"the three-path U-Net, its own, in {TABLE}",
        scale="paper",
    ),
)
SPLITS = """18 of the 20 official training images train and two validate.  The last step is scored, for two images are too few to
choose by; what is outside the field of view is not scored, and Dice is that of all test images' pixels together."""
NOTE = {
    "cpu": f"{SPLITS}  The first seed took two minutes; the seconds of the others are those of a busy machine.",
    "paper": f"""{SPLITS}  How the networks of the published numbers were trained and scored is not at hand: ours are trained by the recipe
of `drive`, on crops of 96x96.  The three-path U-Net's numbers stand beside a network of another kind.""",
}
