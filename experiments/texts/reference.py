"""The statements of the text that aeseg began with, each with the comparisons of `experiments.papers.reference` and other tables."""

from collections.abc import Iterator

from ..papers import METHODS, scenes_labels
from ..papers.reference import CELLS, CHANNELS, DATA, LABELS, MIDDLE, MOST
from ..papers.reference_tuning import TRIALS
from . import Claim, Comparison


def _over(table: str, ours: str, theirs: str, labels: tuple[str, ...], name: str) -> Comparison:
    """Return the comparison of a method's rows with other rows of a table, averaged over its numbers of labels."""
    pairs = tuple((ours.format(count), theirs.format(count)) for count in labels)
    return Comparison(name, pairs, "dice_vessel" if table.startswith("drive") else "mean_iou", 0.01, table=table)


def _gains() -> Iterator[Comparison]:
    """Yield a comparison over numbers of labels for each method and network: first of the text's table, then of other tables."""
    pairs = tuple((f"classifier, {labels} labels, pretrained", f"classifier, {labels} labels, scratch") for labels in LABELS)
    yield Comparison("the example, classifier, scenes 32x32", pairs, "mean_iou", 0.01)
    yield Comparison("denoising, U-Net, scenes 64x64, 128 labels", (("pretrained", "scratch"),), "mean_iou", 0.01, table="scenes")
    for table, counts, data in (
        ("camvid_labels", ("1/60", "1/16", "1/8", "1/4", "all"), "CamVid 72x96, 6 to 367 labels"),
        ("drive_labels", ("1 image", "2 images", "4 images", "all"), "DRIVE, 1 to 18 labels"),
    ):
        for method in METHODS.values():
            yield _over(table, f"{method}, {{}}", "scratch, {}", counts, f"{method}, U-Net, {data}")
    labels = tuple(str(each) for each in scenes_labels.LABELS)
    mae = _over("scenes_labels", "MAE, {} labels", "ViT scratch, {} labels", labels, "MAE, U-Net on a ViT, scenes 64x64, 8 to 2,048 labels")
    yield mae._replace(scale="gpu")
    for method, network in (("denoising", "convnet"), ("SparK", "convnet"), ("MAE", "vit"), ("SimMIM", "vit"), ("FCMAE", "convnextv2")):
        name = f"{method}, U-Net on {network}, CamVid 96x128, 37 and 367 labels, 3 seeds"
        yield _over("camvid_small", f"{method}, {{}}", f"scratch {network}, {{}}", ("10 %", "100 %"), name)._replace(primary=False)
    for arm, control in (("scratch", ""), ("scratch, longer", ", against as many seconds from scratch")):
        name = f"SparK, U-Net, nuclei, 4 labelled images{control}"
        yield _over("nuclei_labels", "SparK, {}", f"{arm}, {{}}", ("4 labels",), name)._replace(primary=False)


def _uses() -> Iterator[Comparison]:
    """Yield the comparisons of each use of the features: fewer bits per dimension are better."""
    metrics = {"restoration": ("psnr", 0.5), "compression": ("psnr", 0.5), "generation": ("importance_bound", 0.05)}
    for ours, theirs, primary in (("pretrained", "scratch", True), ("frozen pretrained", "frozen at random", False)):
        for use, (metric, matters) in metrics.items():
            pair = (f"use: {use}, {ours}", f"use: {use}, {theirs}")
            name = f"{use}: {ours} against {theirs}"
            if use == "generation":
                pair, name = (pair[1], pair[0]), f"{name}, fewer bits"
            yield Comparison(name, (pair,), metric, matters, primary=primary)


CLAIMS = (
    Claim(
        "A convolutional autoencoder (64-128-256, sigmoid, binary cross-entropy, Adam, batch 32, 50 epochs) learns CIFAR-10.",
        (Comparison("50 epochs against one", (("example", "example, 1 epoch"),), "psnr", 1.0),),
        rows="example*",
    ),
    Claim(
        "Its objective is the mean of squared norms of x - D(E(x)).",
        (
            Comparison(
                "squared error against binary cross-entropy",
                (("objective: squared error, 5 epochs", "objective: binary cross-entropy, 5 epochs"),),
                "psnr",
                0.5,
            ),
        ),
        rows="objective*",
    ),
    Claim(
        "Convolutions suit images better than fully connected layers.",
        (
            *(
                Comparison(
                    f"code of {CELLS * channels}, {data}",
                    ((f"code of {CELLS * channels}, {data}: convolutional", f"code of {CELLS * channels}, {data}: dense"),),
                    "psnr",
                    0.5,
                    primary=channels == 16,
                )
                for data in DATA
                for channels in CHANNELS
            ),
            Comparison(
                "as the start of a segmenter",
                (("code of 256, segmented: convolutional, pretrained", "code of 256, segmented: dense, pretrained"),),
                "mean_iou",
                0.01,
            ),
        ),
        rows="code*",
    ),
    Claim(
        "A CNN encoder, a convolution and a fully connected classifier with cross-entropy segment images.",
        tuple(
            Comparison(
                f"as good as {rival}, {labels} labels",
                ((f"classifier, {labels} labels, scratch", f"classifier's rival {rival}, {labels} labels, scratch"),),
                "mean_iou",
                0.02,
                bar=-0.02,
                primary=labels == MIDDLE,
            )
            for labels in LABELS
            for rival in ("U-Net", "FCN")
        ),
        rows="classifier*",
    ),
    Claim("An autoencoder raises the accuracy of segmentation.", tuple(_gains()), rows="classifier*"),
    Claim(
        "Data augmentation and larger data sets raise it.",
        (
            Comparison(
                "all augmentations against none", ((f"data: all, {MIDDLE} labels", f"data: none, {MIDDLE} labels"),), "mean_iou", 0.01
            ),
            Comparison("2,048 labels against 128", ((f"data: flips, {MOST} labels", f"data: flips, {MIDDLE} labels"),), "mean_iou", 0.01),
            Comparison(
                "16,384 unlabelled images against 256",
                ((f"data: flips, {MIDDLE} labels, after 16,384 images", f"data: flips, {MIDDLE} labels, after 256 images"),),
                "mean_iou",
                0.01,
            ),
            Comparison(
                "all augmentations, with 2,048 labels",
                ((f"data: all, {MOST} labels", f"data: none, {MOST} labels"),),
                "mean_iou",
                0.01,
                primary=False,
            ),
        ),
        rows="data*",
    ),
    Claim(
        "Tuning the model and its parameters raises it.",
        (
            Comparison(
                f"the best of {len(TRIALS)} trials against the default", (("tuned", f"data: flips, {MIDDLE} labels"),), "mean_iou", 0.01
            ),
        ),
        rows="tuned",
    ),
    Claim(
        "Several modalities raise it.",
        tuple(
            Comparison(
                f"cracks: {ours} against {theirs}", ((ours, theirs),), "iou_crack", 0.01, table="cracks", primary=ours == "all, vote"
            )
            for ours, theirs in (
                ("all, vote", "RGB"),
                ("all, stacked", "RGB"),
                ("RGB + depth, stacked", "RGB"),
                ("RGB + thermal, stacked", "RGB"),
                ("all, fusion", "RGB, ViT"),
            )
        ),
    ),
    Claim(
        "The same features serve generation, compression and restoration.",
        tuple(_uses()),
        rows="use*",
        registered="6bb8e1c",
    ),
)
