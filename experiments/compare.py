"""Compare autoencoders on your images: which pretraining improves segmentation, by how much, and for how many labels.

python -m experiments.compare --data=my_images --minutes=120                        # a folder, which is inspected first
python -m experiments.compare --data=inspections/my_images/data.json --minutes=30   # described by `inspect`
python -m experiments.compare --data=my_images --public=vit-mae-base --public=dino  # public weights, also pretrained further
python -m experiments.compare --data=my_images --arms="spark masked,vit" --labels=1,8,all --seeds=5 --trials=3

Each encoder has an arm from scratch, an arm for each method that pretrains it on your unlabelled training images, and arms with public
weights. All arms have the same head, steps, augmentation and, per seed, labelled images. Validation chooses learning rate and length, with
equally many trials for every arm, also from scratch; the trials use the middle label count, or the larger of the middle two. Each run
is scored once on the test images.

`compare` first times the parts, lowers what does not fit --minutes, and prints what it lowered. The same command continues an interrupted
comparison. experiments/comparison lists the files.
"""

import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from aeseg import files
from aeseg.types import UserError

from .comparison import arms as arms_of
from .comparison import data, health, plan, records, schedule
from .comparison.clock import Clock
from .comparison.plan import Costs, Part, Plan
from .comparison.timing import measured
from .comparison.work import Work
from .console import cli
from .console.progress import Progress
from .machine import commands, copies, process
from .machine.provenance import provenance

PLAN = "plan.json"
TIMING = 1 / 3
"""Fraction of the minutes after which no further part is compiled and timed."""
WINDOW = {"cpu": 64, "gpu": 128, "tpu": 128}


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        data=("", "folder of images and labels, or the data.json that `inspect` wrote"),
        minutes=(60.0, "time limit"),
        output=("", "folder for the results; default comparisons/<name of the data>"),
        arms=(arms_of.DEFAULT, "autoencoders, as in pretrain --config=folder:<name>, separated by spaces"),
        public=([], "public weights: a Hugging Face directory, or a .safetensors file beside its config.json; may be repeated"),
        labels=("1,4,16,all", "numbers of labelled images"),
        seeds=(5, "runs of each arm and number of labels"),
        trials=(3, "learning rates and lengths that each arm tries on validation"),
        steps=(2000, "most steps of a segmentation"),
        longer=(True, "also train scratch for the seconds of its encoder's longest pretraining, if the minutes allow"),
        window=(0, "side of the windows; 0: 128 (64 on a CPU), less for small images"),
        batch=(16, "windows per step"),
        **copies.OPTIONS,
    )
    began = time.monotonic()
    if flags.minutes <= 0 or flags.seeds < 1 or not 1 <= flags.trials <= len(plan.TRIALS) or flags.steps < 1 or flags.batch < 1:
        raise UserError(
            f"Expected minutes > 0, seeds, steps and batch >= 1, and 1 to {len(plan.TRIALS)} trials; got --minutes={flags.minutes}, "
            f"--seeds={flags.seeds}, --steps={flags.steps}, --batch={flags.batch}, --trials={flags.trials}."
        )
    output = flags.output or os.path.join("comparisons", named(flags.data))
    if flags.cluster:
        return copies.submit("compare", cli.taken(argv[1:], "cluster", "")[1], flags.cluster, flags.copies, output)
    process.start(trains=True)
    with commands.held(os.path.join(output, "lock"), shared=flags.copies > 1):
        with alone(output):
            description = data.description(flags.data, output, lambda text: print(text, file=sys.stderr))
        images, lines = data.read(description)
        print("\n".join(lines))
        verdict = compared(flags, output, images, began)
    print(report(verdict, output))
    return 0


def compared(flags: Any, output: str, images: data.Images, began: float) -> dict[str, Any]:
    """Do the missing work of a comparison; return its verdict."""
    arms = {arm.name: arm for arm in arms_of.chosen(flags.arms, flags.public, images.statistics, images.channels)}
    counts = label_counts(flags.labels, len(images.train))
    side = window(flags.window, images.side, arms_of.units(list(arms.values())))
    parts = tuple(arm.part for arm in arms.values() if flags.longer or arm.method != "longer")
    wanted = Plan(parts, counts, flags.seeds, flags.trials, flags.steps, len(images.validation), len(images.test))
    asked = {"arms": list(arms), "labels": list(counts), "trials": flags.trials, "steps": flags.steps, "window": side, "batch": flags.batch}
    with Progress("compare", 100, unit="%") as bar:
        work = Work(output, images, arms, wanted, Costs({}, {}, {}, 0.0, 0.0), (side, side), flags.batch, Clock(bar), provenance())
        with alone(output):
            known = kept_plan(output, asked, flags.seeds)
            if known is None:
                costs = measured(work, arms, began + 60 * flags.minutes * TIMING)
                budget = 60 * flags.minutes - (time.monotonic() - began)
                known = plan.fitted(wanted, costs, budget), costs
                write_plan(output, asked, flags.seeds, *known)
        clock = Clock(bar, began + 60 * flags.minutes - plan.RESERVE, sum(plan.seconds(*known).values()))
        work = dataclasses.replace(work, plan=known[0], costs=known[1], clock=clock)
        bar.restart()
        bar.say(plan.text(*known, 60 * flags.minutes - (time.monotonic() - began)))
        schedule.finish(work, flags.seeds, shared=flags.copies > 1)
        for line in work.lines("health"):
            first = next(other for other in work.lines("health") if (other["arm"], other["step"]) == (line["arm"], 0))
            now, untrained = (health.Health(each["probe"], each["rank"]) for each in (line, first))
            if (text := health.warning(line["arm"], line["step"], now, untrained)) and not work.is_warned(line["arm"]):
                work.warn(text)
        bar.at(100, task="tables and pictures", left=plan.RESERVE)
        with alone(output):
            return records.write(work, *following(flags, output, work.plan))


def alone(output: str) -> contextlib.AbstractContextManager[int]:
    """Lock the comparison inside the block, so that only one copy inspects, plans or writes tables; wait for a copy that does."""
    return commands.held(os.path.join(output, "alone.lock"), wait=True)


def following(flags: Any, output: str, known: Plan) -> tuple[dict[str, str], str]:
    """Return commands for the winner's workdir and config, and the command to try if nothing gains."""
    start, name = process.launcher(), os.path.basename(os.path.normpath(output))
    use = {
        "predict": f"{start}predict --workdir={{winner}} --input=<file, folder or glob> --output=predictions",
        "train on": f"{start}segment --config={{config}} --init={{winner}} --workdir=runs/{name}",
    }
    public = "".join(f" --public={path}" for path in flags.public)
    arms = "" if flags.arms == arms_of.DEFAULT else f" --arms={flags.arms!r}"
    more = f"--minutes={2 * flags.minutes:g} --seeds={2 * known.seeds}"
    return use, f"{start}compare --data={flags.data}{arms}{public} --labels={flags.labels} {more} --output={output}"


def label_counts(text: str, images: int) -> tuple[int, ...]:
    """Return the numbers of labelled images that `text` names, ascending; `all` and larger numbers mean all images.

    >>> label_counts("1,4,16,all", 10)
    (1, 4, 10)
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or any(word != "all" and not (word.isdecimal() and int(word) > 0) for word in words):
        raise UserError(f"Expected numbers of labelled images and all, separated by commas; got {text!r}. Set --labels=1,4,all.")
    return tuple(sorted({images if word == "all" else min(int(word), images) for word in words}))


def window(asked: int, side: int, units: Sequence[int]) -> int:
    """Return the side of windows, a multiple of all `units`: the requested side, or a side for this device and these images."""
    import jax
    import numpy as np

    unit = int(np.lcm.reduce(units))
    wanted = asked or min(WINDOW.get(jax.default_backend(), 128), max(unit, side))
    chosen = max(unit, wanted // unit * unit)
    if asked and chosen != asked:
        raise UserError(f"Expected a window that is a multiple of {unit} for these arms; got --window={asked}. The nearest is {chosen}.")
    return chosen


def named(path: str) -> str:
    """Return the name of the data's folder, or of its description's folder."""
    absolute = os.path.abspath(path)
    return os.path.basename(absolute if os.path.isdir(absolute) else os.path.dirname(absolute))


def kept_plan(output: str, asked: dict[str, Any], seeds: int) -> tuple[Plan, Costs] | None:
    """Return the plan and costs of an earlier call, with more seeds if requested; None for a new comparison."""
    path = os.path.join(output, PLAN)
    if not os.path.exists(path):
        return None
    stored = files.read_json(path)
    changed = [f"{name}: {stored['asked'].get(name)} -> {value}" for name, value in asked.items() if stored["asked"].get(name) != value]
    if changed:
        raise UserError(f"{output} has a comparison with other settings:\n  " + "\n  ".join(changed) + "\nSet another --output.")
    fields = stored["plan"]
    fields |= {"arms": tuple(Part(*arm) for arm in fields["arms"]), "labels": tuple(fields["labels"]), "lowered": tuple(fields["lowered"])}
    known, costs = Plan(**fields), Costs(**stored["costs"])
    if seeds > stored["seeds"]:
        known = known._replace(seeds=seeds)
        write_plan(output, asked, seeds, known, costs)
    return known, costs


def write_plan(output: str, asked: dict[str, Any], seeds: int, known: Plan, costs: Costs) -> None:
    """Write the plan and the requested seeds, so that the same command continues with them."""
    fields = {**known._asdict(), "arms": [list(arm) for arm in known.arms]}
    contents = {"asked": asked, "seeds": seeds, "plan": fields, "costs": costs._asdict(), "seconds": plan.seconds(known, costs)}
    files.write(os.path.join(output, PLAN), json.dumps(contents, indent=1) + "\n")


def report(verdict: dict[str, Any], output: str) -> str:
    """Return the command's last output."""
    with contextlib.suppress(OSError), open(os.path.join(output, "table.md"), encoding="utf-8") as file:
        table = file.read().rstrip()
    lines = [
        "",
        table,
        "",
        verdict["headline"],
        *(f"  {line}" for line in verdict["sentences"]),
        *(f"  ! {line}" for line in verdict["warnings"]),
    ]
    gains = any(entry["verdict"] == "gains" for arm in verdict["arms"] for entry in (arm["overall"], *arm["by_labels"]))
    if verdict["winner"]:
        best = verdict["winner"]
        lines += ["", f"use         {best['arm']}, {best['labels']} labels, seed {best['seed']}: {os.path.join(output, best['workdir'])}"]
        lines += [f"{name:<11} {command}" for name, command in verdict["commands"].items()]
    if not gains:
        lines.append(f"{'try next':<11} {verdict['next']}")
    names = ("results.jsonl", "results.csv", "table.tex", "plot.png", "pictures/worst.png", "verdict.json", "winner.json")
    lines += [f"{'files':<11} {output}: {', '.join(names)}", f"{'page':<11} {process.launcher()}report {output}"]
    return "\n".join(lines)


if __name__ == "__main__":
    cli.main(run, trains=True)
