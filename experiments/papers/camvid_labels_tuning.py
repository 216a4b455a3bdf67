"""What `camvid_labels` is run with: four trials for each method and for the network from scratch, scored on the validation frames."""

from experiments import papers

TITLE = "Tuning of camvid_labels: CamVid at 72x96, 1/8 of the labels, validation split (101 images)"
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
THEN = {
    "reconstruction": ("as it is", 6e-3),
    "denoising": ("rate 0.0005", 6e-3),
    "spark": ("units of 24", 6e-3),
    "fcmae": ("units of 24", 6e-3),
}
"""The best pretraining of each, segmented at the rate that was best from scratch."""
ROWS = papers.trials("camvid_labels:{}", "camvid_labels", {"data.fraction": 0.125}, HARDER, THEN)
