"""Property tests with hypothesis: properties that must be true for every example (examples.py).

Hypothesis draws settings (a transform, a window, values), which takes milliseconds.  Each draw is tried on several examples (images,
orders, positions), which take less.
"""

import zlib
from collections.abc import Iterator
from typing import Any

from aeseg.types import UserError

from . import examples
from .examples import Test
from .journal import Case, Outcome
from .runs import Setting

CHUNK = 1000
"""Examples per case."""

REDUCED = 2
"""Draws per property of the reduced soak."""

TESTS: dict[Test, int] = {
    examples.alignment: 40,
    examples.colour: 10,
    examples.merging: 10,
    examples.descriptions: 10,
    examples.plain_json: 5,
    examples.sliding: 10,
    examples.label_files: 10,
    examples.config_json: 10,
}
"""Cases per property, each of a thousand examples: 105,000 examples in total."""


def cases(setting: Setting) -> Iterator[Case]:
    """Yield a case for each thousand examples of a property; the reduced soak draws a few per property."""
    try:
        import hypothesis
    except ImportError as error:
        raise UserError("Property tests need hypothesis, which is not installed. Run pip install -e '.[soak]'.") from error

    def holds(test: Test, number: int) -> Outcome:
        tried = 0

        def example(data: Any) -> None:
            nonlocal tried
            test(data.draw, setting.folder)
            tried += examples.TIMES  # here, as hypothesis gives up some draws

        settings = hypothesis.settings(
            max_examples=CHUNK // examples.TIMES if setting.scale == "full" else REDUCED,
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        )
        given = hypothesis.given(hypothesis.strategies.data())(settings(example))
        try:
            hypothesis.seed(zlib.crc32(f"{setting.seed} {test.__name__} {number}".encode()))(given)()
        except Exception as error:
            notes = " ".join(getattr(error, "__notes__", ()))
            return Outcome({"examples": tried}, (f"{type(error).__name__}: {error} {notes}"[:600],))
        return Outcome({"examples": tried})

    for test, chunks in TESTS.items():
        for number in range(chunks if setting.scale == "full" else 1):
            yield Case(f"{test.__name__} {number}", lambda test=test, number=number: holds(test, number))
