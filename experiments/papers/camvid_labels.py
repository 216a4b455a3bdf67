"""Autoencoders by label fraction: how much do they help, and which one? CamVid at 72x96 (not a published protocol).

All rows share encoder, head, steps and augmentation; only the start of the encoder differs.
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
"""TUNED and RATES: settings of each pretraining and segmentation, from the best trials of camvid_labels_tuning.py."""
PICTURE = {name: f"{name}, 1/16" for name in ("scratch", *papers.METHODS.values())}
RECONSTRUCTIONS = {name: method for method, name in papers.METHODS.items()}
NOTE = {
    "cpu": """No autoencoder is worth its time here. All 20 differences to scratch are at most 0.8 points of mIoU. Three are beyond their
interval, where chance gives about one: SparK with all labels (+0.7 ± 0.4), reconstruction with 1/16 of the labels (-0.8 ± 0.8) and
FCMAE with 1/4 (-0.8 ± 0.7). With five seeds, p exceeds 0.06. SparK's difference is positive at each of the five fractions, by 0.1 to
0.7. At 1/60, six images, labels are the bottleneck: 31, against 38 to 40 with 1/16 and more. Pretraining does not replace them there
either: -0.3 to +0.5.

We looked for the cause on a held-out drive (camvid_labels_tuning, one seed). Two kinds of rows are taken out until they are measured
again: frozen encoders (the random one normalised by the batch, the pretrained ones by averages of masked or noisy images), and lower
learning rates in lower layers (the bottleneck had the head's rate). Longer pretraining does not help: 4x the steps raise PSNR of hidden
pixels from 22.7 to 22.9 dB, not mIoU (34.6). From the 50th step of segmentation on, the loss equals the loss from scratch.""",
}
ALL_SHARES = {"1/30": 1 / 30, "1/16": 1 / 16, "1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2, "all": 1.0}
ROWS = (
    *papers.over_labels("camvid_labels:{}", "camvid_labels", SHARES, TUNED, RATES, {}),
    *papers.over_labels("camvid_labels:{},large", "camvid_labels:unet,large", ALL_SHARES, {}, {}, {}, "paper", ", 360x480"),
)
