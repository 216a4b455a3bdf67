"""State of a comparison: its images, arms and plan, its files, and its warnings."""

import dataclasses
import os
from typing import Any

from aeseg import jsonlines
from aeseg.runs.programs import Programs

from .arms import Arm
from .clock import Clock
from .data import Images, Spread
from .plan import Costs, Plan


@dataclasses.dataclass
class Work:
    """State shared by all runs.

    folder    folder of the comparison
    window, batch   window and batch size of every run
    provenance   device, commit and versions, added to every line
    failed    arms that ended with an error
    """

    folder: str
    images: Images
    arms: dict[str, Arm]
    plan: Plan
    costs: Costs
    window: tuple[int, int]
    batch: int
    clock: Clock
    provenance: dict[str, Any]
    programs: Programs = dataclasses.field(default_factory=Programs)
    warnings: list[str] = dataclasses.field(default_factory=list)
    failed: set[str] = dataclasses.field(default_factory=set)

    def __post_init__(self) -> None:
        self.programs.seen = self.clock.stepped
        self.validation = Spread(self.images.validation, self.plan.validation)
        self.test = Spread(self.images.test, self.plan.test)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of one of the comparison's files."""
        return jsonlines.read(os.path.join(self.folder, f"{name}.jsonl"))

    def write(self, name: str, line: dict[str, Any]) -> None:
        """Append a line to one of the comparison's files."""
        jsonlines.write(os.path.join(self.folder, f"{name}.jsonl"), line)

    def workdir(self, arm: Arm, name: str) -> str:
        """Return the path of an arm's workdir."""
        return os.path.join(self.folder, "arms", arm.slug, name)

    def pretraining_seconds(self, arm: Arm) -> float:
        """Return the measured seconds of an arm's pretraining; 0 without one."""
        lines = [line for line in self.lines("pretraining") if line["arm"] == arm.name and line["steps"] == self.plan.pretraining]
        return sum(line["seconds"] for line in lines) if arm.pretraining else 0.0

    def warn(self, text: str) -> None:
        """Print a warning, and keep it for the verdict."""
        if text not in self.warnings:
            self.warnings.append(text)
            self.clock.bar.say(f"! {text}")

    def is_warned(self, arm: str) -> bool:
        """Return whether an arm's pretraining has a warning."""
        return any(text.startswith(f"{arm}:") for text in self.warnings)
