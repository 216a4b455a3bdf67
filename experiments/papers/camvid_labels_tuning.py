"""What `camvid_labels` is run with: four trials for each method and for the network from scratch, scored on the validation frames.

Three trials of a method differ in the learning rate of its pretraining and in how hard its task is; those from scratch in the
learning rate of the segmentation.  The fourth has the best of these with the rate that was best from scratch, or with twice that.
"""

from experiments import papers

TITLE = "Tuning of camvid_labels: CamVid at 72x96, 1/8 of the labels, validation split (101 images)"
METRICS = ("mean_iou", "pixel_accuracy")
SEEDS = 1
SPLIT = "validation"
METHODS = {"reconstruction": "reconstruction", "denoising": "denoising", "spark": "SparK", "fcmae": "FCMAE"}
RATE = "optimiser.learning_rate"
EASY = {"as it is": {}, "rate 0.0005": {RATE: 5e-4}}
TRIED = {
    "reconstruction": {**EASY, "SSIM and L1": {"method.objective": "ssim_l1"}},
    "denoising": {**EASY, "squares of 32": {"method.noise[0].size": 32}},
    "spark": {**EASY, "units of 24": {"method.unit": 24}},
    "fcmae": {**EASY, "units of 24": {"method.unit": 24}},
}
"""Besides squared error, squares of 16 and units of 8, with rate 0.002, which are the config's."""
SCRATCH = {f"rate {rate:g}": {RATE: rate} for rate in (5e-4, 2e-3, 6e-3, 1.2e-2)}
ROWS = papers.trials("camvid_labels:{}", "camvid_labels", METHODS, {"data.fraction": 0.125}, TRIED, SCRATCH, {})
