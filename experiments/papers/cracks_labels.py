"""Gain from each autoencoder with 1 to 64 labelled RGB images of cracks; all 180 training images are unlabelled images of pretraining.

The rows are those of nuclei_labels: crops of 64x64 at the images' own scale, everything but the encoder's start and the steps alike.

Written before the first test score of these rows:
- Primary number: crack IoU on the 112 test images, SparK minus scratch, 4 labelled images, paired over 5 seeds, by a paired t-test at 0.05.
- Expected: no gain that 5 seeds could show. Cracks are thin and labels coarse; texture of pavements is what pretraining learns.
- Arms and seeds: the ROWS below, 5 seeds each. Learning rates are the config's (4e-3), not tuned; a second control trains scratch for the
  pretraining's seconds.
- Seeds 0 to 4, in this order; no seed is dropped, and nothing is stopped early because of a score. What the minutes do not reach is not
  measured. All but the primary number is exploratory.
"""

from .nuclei_labels import METHODS, rows

TITLE = "Cracks at their own scale, RGB: 1 to 64 labelled images of 180, 112 test images"
METRICS = ("iou_crack", "mean_iou", "pixel_accuracy")
SEEDS = 5
SPLIT = "test"
REGISTERED = "4804442"
PRIMARY = {"SparK, 4 labels": (("SparK, 4 labels", "scratch, 4 labels"),)}
PICTURE = {"from scratch": "scratch, 4 labels", "SparK": "SparK, 4 labels"}
ROWS = rows("cracks", 180, (1, 2, 4, 8, 16, 64), {}, {})
TIERS = (
    (("scratch, 4 labels", "SparK, 4 labels"), SEEDS),
    (("scratch, longer, 4 labels",), SEEDS),
    (tuple(f"{name}, 4 labels" for name in METHODS), SEEDS),
    (("scratch, 1 label", "SparK, 1 label"), SEEDS),
    (("scratch, 64 labels", "SparK, 64 labels"), SEEDS),
)
"""(rows, number of seeds), in the order of measurement."""
