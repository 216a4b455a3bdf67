"""What `camvid_labels` is run with: four trials for each method and for the network from scratch, scored on a drive that is held out.

CamVid's own validation frames are seven seconds of a drive of which training has the frames between; the test split is, for two
thirds, a drive of its own.  So here one drive is pretrained on and segmented, and another validates; a third, at dusk, is left out.
"""

from experiments import papers

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
FIELDS = {"data.fraction": 0.125}
BEST = {**DRIVES, **FIELDS, papers.RATE: 6e-3}
STARTS = {method: f"{method} pretraining, {trial}" for method, (trial, _) in THEN.items()}
LONG = "spark pretraining, four times as long"
WHY = (
    papers.Row("why: frozen at random", "segment", "camvid_labels", {**BEST, "freeze": "scratch", "optimiser.freeze": ("encoder/*",)}),
    *(
        papers.Row(f"why: {papers.METHODS[method]}, frozen", "segment", "camvid_labels", {**BEST, "freeze": "linear-probe"}, start)
        for method, start in STARTS.items()
    ),
    papers.Row("why: SparK, lower layers slower", "segment", "camvid_labels", {**BEST, "optimiser.layer_decay": 0.6}, STARTS["spark"]),
    papers.Row(LONG, "pretrain", "camvid_labels:spark", {**DRIVES, "steps": 4000}),
    papers.Row("why: SparK, four times as long", "segment", "camvid_labels", BEST, LONG),
)
"""No trials: what the encoders know when the head alone is trained, and whether gentler or longer training keeps more of it."""
ROWS = (*papers.trials("camvid_labels:{}", "camvid_labels", FIELDS, HARDER, THEN, DRIVES), *WHY)
