"""Runs, verdict and files of `compare`.

A comparison is one folder (default comparisons/<name of the data>):

    data.json        the data description that every run reads
    plan.json        arms, label counts, seeds, steps, seconds of each part, and a sentence for each reduction
    trials.jsonl     a line per trial on the validation split: arm, learning_rate, length, steps, validation_miou, seconds
    health.jsonl     a line per check of a pretraining: arm, step, probe (mIoU of a linear probe), rank (effective rank), loss
    results.jsonl    a line per run, scored once on the test split (see below)
    results.csv      the same lines as CSV
    unfinished.jsonl  a line per run that the deadline interrupted: workdir, seconds; the same command continues it
    table.md, table.tex, plot.png    means, intervals and gains by number of labels
    verdict.json     the numbers and sentences of the verdict (see below)
    winner.json      the winner's config, which --config accepts; `verdict.json` names its workdir
    pictures/        the winner's worst test images: image, label, predictions of the winner and of its scratch
    arms/<slug>/pretraining           the workdir of an arm's pretraining
    arms/<slug>/<labels>-<seed>       the workdir of a run; only runs with all labels keep their checkpoints

A line of results.jsonl:

    {"arm": "spark, convnet", "encoder": "convnet", "method": "spark", "init": "arms/spark-convnet/pretraining",
     "against": "scratch, convnet", "labels": 4, "seed": 1, "steps": 400, "learning_rate": 0.001,
     "metrics": {"miou": 0.71, "iou": {"background": 0.92, "nucleus": 0.5}, "pixel_accuracy": 0.93},
     "validation_miou": 0.70, "images": 50, "seconds": 12.3, "pretraining_seconds": 60.2,
     "device": "...", "commit": "...", "versions": {...}, "workdir": "arms/spark-convnet/4-1"}

Scores are fractions of 1; the IoU of a class that does not occur is null. `method` is "" for an arm from scratch, "longer" for scratch that
also trains for the seconds of its encoder's longest pretraining, "public" for public weights as they are, and the method's file name for an
arm that is pretrained here. `init` is "" or a path; paths are relative to the folder, except paths of public weights. `against` is the
scratch arm of the same encoder, or "" for a scratch arm. `mean` and `std`, if present, standardise the encoder's input.

verdict.json:

    {"headline": "...", "sentences": ["...", ...], "warnings": ["...", ...], "next": "the next command",
     "metric": "miou", "labels": [1, 4, 100], "seeds": [1, 2, 3, 4, 5], "commands": {"train on": "...", "predict": "..."},
     "arms": [{"arm": "spark, convnet", "encoder": "convnet", "method": "spark", "against": "scratch, convnet", "minutes": 1.2,
               "overall": <difference over all label counts>,
               "by_labels": [<difference>, ...],
               "longer": null | <difference from the arm "longer">}, ...],
     "winner": {"arm": "...", "labels": 100, "seed": 3, "workdir": "arms/.../100-3", "config": "winner.json"}}

A difference, in fractions of 1; `low`, `high` and `p` are null with one seed:

    {"labels": 4, "seeds": 5, "scratch": 0.61, "value": 0.65, "gain": 0.04, "low": 0.01, "high": 0.07, "p": 0.01, "holm": 0.03,
     "smallest": 0.03, "verdict": "gains" | "loses" | "not shown",
     "worth": null | {"labels": 34, "low": 28, "high": 41}}

`low` to `high` is the 95 % interval of the mean paired difference over seeds. `holm` is p corrected over the arms. `smallest` is the
difference that this number of seeds shows with probability 0.8. `worth` is the number of further labels with which scratch would reach
`value`, interpolated between scratch's means.
"""
