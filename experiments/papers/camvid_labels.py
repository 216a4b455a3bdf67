"""How much does an autoencoder help, and which one, the fewer labels there are?  CamVid at 72x96 (not a published protocol).

One encoder, one head, as many steps and the same augmentation for all; what differs is where the encoder starts.
"""

from .. import papers

TITLE = {
    "cpu": "CamVid at 72x96, 11 classes, test split (233 images): shares of the 367 labels",
    "paper": "CamVid at 360x480, 11 classes, test split (233 images): shares of the 367 labels",
}
METRICS = ("mean_iou", "pixel_accuracy", "class_accuracy")
SEEDS = 5
SPLIT = "test"
SHARES = {"1/60": 1 / 60, "1/16": 1 / 16, "1/8": 1 / 8, "1/4": 1 / 4, "all": 1.0}
TUNED = {"reconstruction": {"method.objective": "ssim_l1"}, "denoising": {"method.noise[0].size": 32}}
RATES = dict.fromkeys(("scratch", *papers.METHODS), 6e-3)
"""Of each method's pretraining, and of its segmentation: the best trials of camvid_labels_tuning.py."""
PICTURE = {name: f"{name}, 1/16" for name in ("scratch", *papers.METHODS.values())}
RECONSTRUCTIONS = {name: method for method, name in papers.METHODS.items()}
NOTE = {
    "cpu": """No autoencoder is worth its time here.  Of 20 differences to scratch none is larger than 0.8 points of mIoU.  Three are beyond
their interval, where chance alone makes one: SparK with all labels +0.7 ± 0.4, reconstruction with 1/16 of them -0.8 ± 0.8, FCMAE with
1/4 -0.8 ± 0.7; five seeds cannot make a p below 0.06.  SparK's is above zero at each of the five shares, by 0.1 to 0.7.  Labels are
missing at 1/60, where there are six images (31 against 38 to 40 with 1/16 and more), and there, too, nothing replaces them: -0.3 to +0.5.

Why not?  We looked for the cause on a drive that was held out (camvid_labels_tuning, one seed).  What the autoencoders learn in 1,000
steps does not tell classes apart: trained on a frozen encoder, the head reaches 24.8 to 26.5 with theirs, and 26.4 where the frozen
weights are random.  It is not forgotten for want of care: with lower layers trained more slowly SparK's encoder reaches 33.6, without
34.7.  Nor is it too short: after four times as many steps it gives hidden pixels back better (22.9 dB instead of 22.7) and segments as
well as before (34.6).  And from the 50th step of segmentation on, the loss is that of a network from scratch.""",
}
ALL_SHARES = {"1/30": 1 / 30, "1/16": 1 / 16, "1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2, "all": 1.0}
ROWS = (
    *papers.over_labels("camvid_labels:{}", "camvid_labels", SHARES, TUNED, RATES, {}),
    *papers.over_labels("camvid_labels:{},large", "camvid_labels:unet,large", ALL_SHARES, {}, {}, {}, "paper", ", 360x480"),
)
