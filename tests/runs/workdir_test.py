import json

import pytest

from aeseg.runs import workdir as workdirs
from aeseg.spec import recipe, to_json
from aeseg.types import UserError
from tests.experiments.untrained import config_of


@pytest.fixture
def workdir(tmp_path):
    """Make a workdir with validations at steps 2, 4, 6 and 8, and checkpoints at 2, 6 and 8."""
    for step in (2, 6, 8):
        (tmp_path / "checkpoints" / str(step)).mkdir(parents=True)
    measured = {2: (0.3, 0.9), 4: (0.8, 0.1), 6: (0.5, 0.2), 8: (0.4, 0.3)}
    lines = [{"step": 2, "train/loss": 0.0}]
    lines += [{"step": step, "validation/mean_iou": iou, "validation/loss": loss} for step, (iou, loss) in measured.items()]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def describe(workdir, best):
    config = config_of(recipe("aeseg.methods", "denoising", "tiny"))
    config.best = best
    (workdir / "config.json").write_text(to_json(config))
    return str(workdir)


@pytest.mark.parametrize(("best", "step"), [("mean_iou", 6), ("loss", 6)])
def test_the_best_step_is_a_saved_step(workdir, best, step):
    assert workdirs.best_step(describe(workdir, best)) == step


def test_a_metric_that_was_never_measured_has_no_best_step(workdir):
    with pytest.raises(UserError, match=r"Expected 'psnr' of the validation set at a saved step of .*; there is none. Name a step"):
        workdirs.best_step(describe(workdir, "psnr"))
