"""The embedded scenes: does pretraining help when 128 of 4,096 images have labels?  The defaults of both entry points."""

from experiments.papers import Row

TITLE = "Scenes, 64x64, 8 classes, 128 labelled images, test split"
METRICS = ("mean_iou", "pixel_accuracy")
SEEDS = 5
SPLIT = "test"
PICTURE = {"from scratch": "scratch", "pretrained": "pretrained"}
ROWS = (
    Row("denoising", "pretrain", "pretrain"),
    Row("scratch", "segment", "segment", {"freeze": "scratch"}, init="denoising"),
    Row("pretrained", "segment", "segment", init="denoising", compare="scratch"),
)
