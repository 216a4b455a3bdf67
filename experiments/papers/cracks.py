"""Cracks in pavements: what do thermal and depth images add to RGB, and what is left when one is missing? (Not a published protocol.)

All rows have 400 steps, the same crops, flips, batch size and 180 labelled pavements at 64x64, and are scored on 112 test pavements, some
of them nearly black in RGB. Thermal is up to 30 pixels off in places (of 400), and labels are coarse polygons. Rows that read several
modalities miss each one with probability 0.25 in training, except "vote", which needs no such training, and "no dropout".

Written before the first test score:
- Primary number: crack IoU over all test images, "all, vote" minus "RGB", paired by seed, 5 seeds. Expected above 0.
- On dark images every row with depth beats RGB; on lit images stacking adds nothing, or hurts.
- Without its RGB channels, "no dropout" falls further than "stacked"; a missing thermal image costs nobody more than 2 points.
- MultiMAE on the 180 training images (800 steps) helps fusion, but not beyond its interval; the U-Net on RGB beats the ViT on RGB.
- All else is exploratory. Learning rates are those of the configs camvid_small and drive, not searched.
- Seeds 0 to 4, in this order, all rows of a seed before the next seed; nothing is stopped early because of a score. Seeds that the
  minutes do not reach are not measured.
"""

from . import Row

TITLE = "Cracks at 64x64 from RGB, thermal and depth images, 112 test pavements"
METRICS = (
    "iou_crack",
    "iou_crack_lit",
    "iou_crack_dark",
    "iou_crack_without_image",
    "iou_crack_without_thermal",
    "iou_crack_without_depth",
    "iou_crack_without_image_thermal",
)
SEEDS = 5
SPLIT = "test"
REGISTERED = "ff5d8a0"
PRIMARY = {"all, vote, against RGB": (("all, vote", "RGB"),)}
NO_DROPOUT: dict[str, object] = {"data.transforms[3].probability": 0.0}
EACH = 1
PICTURE = {"RGB": "RGB", "stacked": "all, stacked", "vote": "all, vote", "fusion": "all, fusion, pretrained"}


def _segmented(name: str, config: str, compare: str = "RGB", init: str = "", fields: dict[str, object] | None = None) -> Row:
    return Row(name, "segment", f"cracks:{config}", fields or {}, init, compare, lighting=True)


ROWS = (
    _segmented("RGB", "unet", ""),
    _segmented("RGB + thermal, stacked", "stacked,thermal"),
    _segmented("RGB + depth, stacked", "stacked,depth"),
    _segmented("all, stacked", "stacked"),
    _segmented("all, stacked, no dropout", "stacked", "all, stacked", fields=NO_DROPOUT),
    _segmented("all, vote", "vote"),
    _segmented("RGB, ViT", "unet,vit"),
    Row("MultiMAE", "pretrain", "cracks:multimodal"),
    _segmented("all, fusion", "fusion", "RGB, ViT"),
    _segmented("all, fusion, pretrained", "fusion", "all, fusion", "MultiMAE"),
)
NOTE = """Depth brings the gain, and thermal costs some of it (means of crack IoU over five seeds; without image and thermal, a network
sees depth alone). The vote has 49.0, without thermal 52.8, and from depth alone 47.6; RGB has 39.1. On dark images the vote has
42.0, from depth alone 45.7, and RGB has 29.3.

The expectations: the vote leads RGB in every seed, by 6.9 points or more. Every row with depth leads RGB on dark images, but for
fusion: 30.8, and 25.2 after pretraining. Without its RGB channels, the stacked network falls by 12.7 points, and by 12.9 if it was trained
without dropout: no difference. A missing thermal image costs more than 2 points where training had no dropout: 23.8. MultiMAE does not help
fusion (31.9 after it, 34.4 before), and the U-Net on RGB leads the ViT by 6.7.

Thermal images do not show the labelled cracks in place, which may be why they cost: near the outlines of cracks their edges are no stronger
than near the outlines of another image's cracks (`inspect`; experiments/configs/cracks.py)."""
