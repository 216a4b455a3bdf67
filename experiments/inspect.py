"""Inspect a folder of images: layout, labels, duplicates, splits, suggestions; write the data description for other commands.

python -m experiments.inspect my_images                                    # writes inspections/my_images/data.json
python -m experiments.inspect my_images --class_table='background, leaf'   # answers a question
python -m experiments.inspect my_images --orientation=apply --seconds=300  # reads more images to find duplicates

Below --output: data.json (the description: --data=<file>), contact.png (rarest classes first), train.txt, validation.txt and test.txt
(unless the folder has splits).  Each question names the flag that answers it; repeat the command with that flag.
"""

import ast
import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import Any

from aeseg import spec
from aeseg.data.files import shown
from aeseg.data.inspection import report
from aeseg.data.sources.folder import Folder
from aeseg.types import UserError

from .console import cli, helps

NOT_ASKED = ("root", "split", "splits", "split_seed", "group_by", "part", "list_file")
ANSWERS = tuple(field.name for field in dataclasses.fields(Folder) if field.name not in NOT_ASKED)
"""Fields of `Folder` that may be given as flags."""


def run(argv: Sequence[str]) -> int:
    """Inspect a folder; return the exit code."""
    meanings = helps.documented(Folder)
    flags = cli.parse(
        argv,
        __doc__,
        word="folder",
        folder=("", "folder of images"),
        output=("", "folder for the results; default inspections/<name of the folder>"),
        seconds=(60.0, "seconds for reading pixels"),
        seed=(0, "seed of the splits"),
        **{name: ("", f"{meanings[name]} (default: a guess)") for name in ANSWERS},
    )
    root = flags.folder
    if not root:
        raise UserError("Expected a folder; got none. Write: inspect my_images.")
    given = {word.split("=")[0].lstrip("-") for word in argv[1:] if word.startswith("-")}
    answers = {name: value_of(name, getattr(flags, name)) for name in ANSWERS if name in given}
    output = flags.output or os.path.join("inspections", os.path.basename(os.path.abspath(root)))
    inspected = report.inspect(root, output, answers, flags.seconds, flags.seed, lambda text: print(text, file=sys.stderr))
    for heading, lines in inspected.sections.items():
        print(f"\n{heading}")
        for line in lines:
            print(f"  {shown(line)}")
    if inspected.questions:
        print("\nQuestions (answer each: repeat the command with its flag)")
        for question in inspected.questions:
            print(f"  ? {shown(question)}")
    print("\nWritten")
    for path in inspected.written:
        print(f"  {shown(path)}")
    print(f"\nNext: --data={shown(inspected.written[0])}", flush=True)
    return 0


def value_of(name: str, text: str) -> Any:
    """Convert a flag's text to the type of a field of `Folder`."""
    default = spec.spec(Folder, root=".")[name]
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval(text) if text.lower() not in ("true", "false") else text.lower() == "true"
    except (ValueError, SyntaxError) as error:
        raise UserError(f"Expected --{name} like {default!r}; got {text!r}.") from error
    value = (value,) if isinstance(default, tuple) and not isinstance(value, tuple) else value
    if type(value) is not type(default) and not (isinstance(default, float) and isinstance(value, int)):
        raise UserError(f"Expected --{name} like {default!r}; got {text!r}.")
    return value


if __name__ == "__main__":
    cli.main(run)
