"""Recorded numbers of `generate`, for the results page."""

from ..recorded import measurements

RESULTS = "generate"
PICTURE = "pictures/generate.jpg"


def table() -> str:
    """Return the last line of each run and encoder as a Markdown table with a link to the picture, or "" if none is recorded."""
    last = {(line["workdir"], line["features"], line["number"]): line for line in measurements.lines(RESULTS)}
    if not last:
        return ""
    title = "**Generated images: distances to held-out and to training images, beside those of real images**"
    head = (
        "run",
        "features",
        "Fréchet distance",
        "floor",
        "images",
        "nearest by pixels",
        "held-out images",
        "nearest by features",
        "held-out images",
        "too near by pixels",
        "by features",
        "seed",
        "seconds",
        "device",
    )
    rows = [title, "", f"| {' | '.join([*head, 'commit'])} |", "|---" * (len(head) + 1) + "|"]
    for line in last.values():
        frechet, nearest = line["frechet"], line["nearest"]
        distances = [f"{frechet['samples']:.4g}", f"{frechet['floor']:.4g}", str(frechet["images"])]
        medians = [f"{nearest[measure][of]:.4g}" for measure in ("pixels", "features") for of in ("samples", "held_out")]
        near = [f"{100 * nearest[measure]['closer']:.0f} %" for measure in ("pixels", "features")]
        cells = [line["workdir"], line["features"], *distances, *medians, *near]
        cells += [str(line["seed"]), f"{line['seconds']:.0f}", line["device"], line["commit"]]
        rows.append(f"| {' | '.join(cells)} |")
    notes = (
        "The floor is the distance between two halves of the held-out images. Distances to the nearest training images are medians; "
        "by pixels, in grey levels of 255. Too near: the share of samples that are nearer to a training image than the nearest 5 % of "
        "held-out images are; more than 5 % may be memorised, or smooth, since smooth images are near many."
    )
    return "\n".join([*rows, "", f"{notes} [Pictures]({PICTURE})."])
