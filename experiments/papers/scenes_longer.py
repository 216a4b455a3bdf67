"""The control of the table scenes: from scratch, with the seconds of the pretraining spent on more segmentation steps.

Written before the first test score: 1,150 steps of denoising take 234 s and 1,600 steps of segmentation 272 s (medians of one core, the
records of the table scenes), so scratch gets 3,000 steps. Compared with the pretrained row of scenes, paired over the same 5 seeds; the
learning rate is that of scenes, chosen for 1,600 steps. Expected: longer training from scratch is as good as pretraining.
"""

from . import Row

TITLE = "Scenes from scratch, as many seconds as pretraining and segmentation take, test split"
METRICS = ("mean_iou", "pixel_accuracy")
SEEDS = 5
SPLIT = "test"
CHOSEN = "The learning rate is that of the table scenes."
PICTURE = {"3,000 steps": "scratch, 3,000 steps"}
ROWS = (Row("scratch, 3,000 steps", "segment", "segment", {"transfer": "scratch", "steps": 3000, "evaluate_every": 1000}),)
