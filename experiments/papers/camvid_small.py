"""CamVid at 96x128 (not a published protocol): denoising on the 367 training frames, then 100 %, 25 % and 10 % of their labels."""

from experiments.papers import Row

TITLE = "CamVid at 96x128, 11 classes, test split (233 images)"
METRICS = ("mean_iou", "pixel_accuracy", "class_accuracy")
SEEDS = 3
SPLIT = "test"
PICTURE = {"scratch, 10 % of labels": "scratch, 10 %", "pretrained, 10 %": "pretrained, 10 %", "pretrained, 100 %": "pretrained, 100 %"}
FRACTIONS = {"100 %": 1.0, "25 %": 0.25, "10 %": 0.1}
ROWS = (
    Row("denoising", "pretrain", "camvid_small:denoising"),
    *(
        row
        for share, fraction in FRACTIONS.items()
        for row in (
            Row(f"scratch, {share}", "segment", "camvid_small:unet", {"data.fraction": fraction, "freeze": "scratch"}, "denoising"),
            Row(f"pretrained, {share}", "segment", "camvid_small:unet", {"data.fraction": fraction}, "denoising", f"scratch, {share}"),
        )
    ),
)
