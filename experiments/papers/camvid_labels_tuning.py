"""What `camvid_labels` is run with: four trials for each method and for the network from scratch, scored on a drive that is held out.

CamVid's own validation frames are seven seconds of a drive of which training has the frames between; the test split is, for two
thirds, a drive of its own.  So here one drive is pretrained on and segmented, and another validates; a third, at dusk, is left out.
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
"""Instead of squared error, squares of 16 and units of 8, which are the config's."""
DUSK, DAY = 62 / 367, 163 / 367
"""The 367 training frames are in the order of their drives: 62 of 0001TP, 101 of 0006R0, 204 of 0016E5."""
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
"""The best pretraining of each, segmented at the rate that was best from scratch."""
ROWS = papers.tuning("camvid_labels:{}", "camvid_labels", {"data.fraction": 0.125}, HARDER, THEN, ("spark", 4000), DRIVES)
