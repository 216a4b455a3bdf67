"""scenes_labels on a CPU: gain from pretraining by number of labels, method, network and length, on scenes of 32x32.

16,384 scenes are unlabelled; 8 to 2,048 of them have labels. All arms of a network share head, segmentation steps, augmentation, labelled
images and the first weights of all that is not pretrained; each arm's learning rate is the best of the same four on validation.

Written before the first test score of these rows:
- Primary contrasts, 10 seeds: SparK on the convnet and MAE on the ViT, 6,000 steps of 16 images, against scratch of the same network, at
  128 labels, by the mean IoU on 512 test scenes; paired t-tests, Holm's correction over the two.
- Expected: both gain beyond their interval at 128 labels and fewer, more after 25,000 steps than after 1,500, and nothing at 2,048 labels.
  Selective masks change less than the choice of the method.
- Exploratory, 5 seeds: other methods, selective masks, 1,500 and 25,000 steps, 1,024 unlabelled images, and scratch for the
  pretraining's seconds ("longer": as many more steps as the pretraining has; a step of both takes about as long).
- No seed is dropped, and nothing is stopped early because of a score. What the minutes do not reach is not measured.

Budget, estimated and not measured: 1.1 million steps with the tuning. A step of 8 images of 64x64 takes 0.13 s on one core (`scenes`); at
half as many pixels 0.067 s, so 20 hours of one core, and 2.5 hours for 450 starts of 20 s: about 11 hours of two cores.
"""

from .. import papers
from ..recorded import measurements
from . import Row, scenes_labels_small_tuning
from .scenes_labels_small_tuning import ARMS, RATES, SCRATCH, Arm, lasting, pretraining, segmented

TITLE = "Scenes, 32x32: 8 to 2,048 labels, 16,384 unlabelled images, 512 test scenes"
METRICS = ("mean_iou", "pixel_accuracy")
SEEDS = 5
MORE = 10
"""Seeds of the primary contrasts."""
SPLIT = "test"
REGISTERED = "4804442"
PRIMARY = {
    "SparK on the convnet": (("SparK, 128 labels", "scratch, 128 labels"),),
    "MAE on the ViT": (("MAE, 128 labels", "ViT scratch, 128 labels"),),
}
CHOSEN = "Learning rates are the best of the same four on validation, from scratch and for each method (scenes_labels_small_tuning)."
LABELS = (8, 32, 128, 512, 2048)
FEW = (8, 128, 2048)
"""Numbers of labels in rows with other lengths or fewer images, and in the control: rows of the networks of primary contrasts."""
STEPS, LENGTHS, FEWER = 600, (1_500, 25_000), 1_024
PRETRAINED = 6_000
MAIN = ("SparK", "MAE")
PICTURE = {"from scratch": "ViT scratch, 128 labels", "MAE": "MAE, 128 labels"}


def chosen() -> dict[str, dict[str, object]]:
    """Return each arm's learning rate, the best of its trials on validation; leave out arms with missing trials."""
    lines = measurements.current("scenes_labels_small_tuning", scenes_labels_small_tuning)
    scores = {line["row"]: line["numbers"]["mean_iou"] for line in lines if "mean_iou" in line["numbers"]}
    best: dict[str, dict[str, object]] = {}
    for arm in ARMS:
        trials = {rate: scores.get(f"{arm.name}, 128 labels, rate {rate:g}") for rate in RATES}
        known = {rate: score for rate, score in trials.items() if score is not None}
        if len(known) == len(RATES):
            best[arm.name] = {papers.RATE: max(known, key=known.__getitem__)}
    return best


def _rows(arm: Arm, rate: dict[str, object]) -> list[Row]:
    more = {128: MORE} if arm.name in (*MAIN, SCRATCH["convnet"], SCRATCH["vit"]) else {}
    if not arm.method:
        longer = {**rate, **lasting(STEPS + PRETRAINED)}
        every = [segmented(arm, labels, rate, seeds=more.get(labels, 0)) for labels in LABELS]
        if not more:
            return every
        return [*every, *(segmented(arm, labels, longer, ", longer", compare=f"{arm.name}, {labels} labels") for labels in FEW)]
    start = pretraining(arm, seeds=max(more.values(), default=0))
    rows, scratch = [start], SCRATCH[arm.encoder]

    def added(labels: int, ending: str, start: Row, seeds: int = 0) -> Row:
        return segmented(arm, labels, rate, ending, start.name, f"{scratch}, {labels} labels", seeds)

    rows += [added(labels, "", start, more.get(labels, 0)) for labels in LABELS]
    if arm.name in MAIN:
        for steps in LENGTHS:
            other = pretraining(arm, steps)
            rows += [other, *(added(labels, f", {steps:,} steps", other) for labels in FEW)]
        fewer = pretraining(arm, images=FEWER)
        rows += [fewer, *(added(labels, f", {FEWER:,} images", fewer) for labels in FEW)]
    return rows


def every_row() -> tuple[Row, ...]:
    """Return the rows, with the recorded learning rates."""
    rates = chosen()
    return tuple(row for arm in ARMS for row in _rows(arm, rates.get(arm.name, {})))


__getattr__ = papers.on_demand(__name__, every_row)


def _tier(*arms: str, labels: tuple[int, ...] = LABELS, ending: str = "") -> tuple[str, ...]:
    return tuple(f"{arm}, {number} labels{ending}" for arm in arms for number in labels)


TIERS = (
    (_tier("ViT scratch", "MAE", labels=(128,)), MORE),
    (_tier("scratch", "SparK", labels=(128,)), MORE),
    (_tier("scratch", "ViT scratch", labels=FEW, ending=", longer"), SEEDS),
    (_tier("ViT scratch", "MAE", "scratch", "SparK"), SEEDS),
    (_tier("SparK, selective", "MAE, selective", labels=FEW), SEEDS),
    (_tier(*MAIN, labels=FEW, ending=", 25,000 steps"), SEEDS),
)
"""(rows, number of seeds), in the order of measurement."""
