"""How much does an autoencoder help, and which one, where one retina, two, four or 18 are labelled?  DRIVE (not a published protocol).

One encoder, one head, as many steps and the same augmentation for all; what differs is where the encoder starts.
"""

from .. import papers

TITLE = {
    "cpu": "DRIVE, vessels, the 20 official test images: shares of the 18 labels",
    "paper": "DRIVE, vessels, the 20 official test images: shares of the 18 labels, ten times as long",
}
METRICS = ("dice_vessel", "pixel_accuracy", "mean_iou")
SEEDS = 5
SPLIT = "test"
SHARES = {"1 image": 1 / 16, "2 images": 1 / 8, "4 images": 1 / 4, "all": 1.0}
TUNED = {
    "reconstruction": {papers.RATE: 5e-4},
    "denoising": {"method.noise[0].size": 6},
    "spark": {"method.unit": 16},
    "fcmae": {"method.unit": 16},
}
RATES = {**dict.fromkeys(("scratch", "reconstruction", "denoising", "fcmae"), 6e-3), "spark": 2e-3}
"""Of each method's pretraining, and of its segmentation: the best trials of drive_labels_tuning.py."""
COMMON: dict[str, object] = {"steps": 600, "batch_size": 4}
PICTURE = {name: f"{name}, 1 image" for name in ("scratch", *papers.METHODS.values())}
RECONSTRUCTIONS = {name: method for method, name in papers.METHODS.items()}
NOTE = {
    "cpu": """One labelled retina is nearly enough, and no autoencoder replaces the others: from scratch 76.9 Dice from one image, 77.5 from
all 18.  Of 16 differences to scratch the largest gain is 0.3 points (denoising, 4 images), within its interval.  Four are beyond theirs,
where chance alone makes one, and all four are losses: with one image reconstruction -0.6 ± 0.5, SparK -0.6 ± 0.4 and FCMAE -0.8 ± 0.5, with
all of them reconstruction -0.5 ± 0.4.  Seeds differ more, each with another labelled image: 73.3 to 79.0 from scratch.

Why not?  We looked for the cause on the validation images (drive_labels_tuning, two labels, one seed).  Here something is learned:
trained on a frozen encoder, the head reaches 60.0 with SparK's, 47.9 with FCMAE's and 35.0 with reconstruction's, where it reaches 22.4
on random weights; denoising's are worth less than those (18.9).  But what they know, 600 steps on two retinas teach as well: from scratch
it is 73.1.  And it is no head start: with one label, from the 100th step on, the mean loss of training is lowest from scratch (0.61
there, 0.62 to 0.70 with the others).  Neither lower layers that learn more slowly (denoising: 70.1, without 72.1) nor four times as many
steps of pretraining (72.5) change that.  The pictures of what is given back show colour and shade, of which vessels are a small part.""",
}
LONG = {"steps": 6000}
LONGER = {method: {**TUNED.get(method, {}), **LONG} for method in papers.METHODS}
ROWS = (
    *papers.over_labels("drive:{}", "drive", SHARES, TUNED, RATES, COMMON),
    *papers.over_labels("drive:{}", "drive", {**SHARES, "9 images": 1 / 2}, LONGER, RATES, {**COMMON, **LONG}, "paper", ", long"),
)
