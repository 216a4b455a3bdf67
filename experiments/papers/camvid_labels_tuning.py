"""What `camvid_labels` is run with: three trials for each method and for the network from scratch, scored on the validation frames.

The trials of a method differ in the learning rate of its pretraining, and in how hard its task is; those from scratch in the
learning rate of the segmentation, which all methods then have in common.
"""

from experiments.papers import Row

TITLE = "Tuning of camvid_labels: CamVid at 72x96, 1/8 of the labels, validation split (101 images)"
METRICS = ("mean_iou", "pixel_accuracy")
SEEDS = 1
SPLIT = "validation"
SHARE = 0.125
NAMES = {"reconstruction": "reconstruction", "denoising": "denoising", "spark": "SparK", "fcmae": "FCMAE"}
HARDER = {
    "reconstruction": ("SSIM and L1", {"method.objective": "ssim_l1"}),
    "denoising": ("squares of 32", {"method.noise[0].size": 32}),
    "spark": ("units of 24", {"method.unit": 24}),
    "fcmae": ("units of 24", {"method.unit": 24}),
}
"""Method: its other task, and the fields that make it; the recipes reconstruct with squared error, hide squares of 16 and units of 8."""
RATE = "optimiser.learning_rate"


def _scratch(rate: float) -> Row:
    return Row(f"scratch, rate {rate:g}", "segment", "camvid_labels", {"data.fraction": SHARE, RATE: rate})


def _tried(method: str) -> tuple[Row, ...]:
    """Each trial's pretraining, and what is segmented from it."""
    harder, fields = HARDER[method]
    trials = {"as it is": {}, "rate 0.0005": {RATE: 5e-4}, harder: fields}
    pretrained = (Row(f"{method}, {name}", "pretrain", f"camvid_labels:{method}", each) for name, each in trials.items())
    segmented = (
        Row(f"{NAMES[method]}, {name}", "segment", "camvid_labels", {"data.fraction": SHARE}, f"{method}, {name}", "scratch, rate 0.002")
        for name in trials
    )
    return (*pretrained, *segmented)


ROWS = (*(row for method in NAMES for row in _tried(method)), *map(_scratch, (5e-4, 2e-3, 6e-3)))
