"""Run a command of experiments/ by its name, from an installed aeseg or from its source tree."""

import importlib
import importlib.util
import os
import pkgutil
import sys


def main() -> None:
    """Run a command; without one, list them."""
    package = importlib.import_module("aeseg.experiments" if importlib.util.find_spec("aeseg.experiments") else "experiments")
    commands = sorted(info.name for info in pkgutil.iter_modules(package.__path__) if not info.ispkg)
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command not in commands:
        asked = command and command not in ("-h", "--help", "help")
        text = (
            f"There is no command {command!r}. The commands are:"
            if asked
            else "aeseg <command> [flags]; --help after a command lists its flags."
        )
        width = max(map(len, commands)) + 2
        lines = [f"  {name:<{width}}{first_line(package.__path__[0], name)}" for name in commands]
        print("\n".join([text, *lines]), file=sys.stderr if asked else sys.stdout)
        sys.exit(2 if asked else 0)
    sys.argv = [f"aeseg {command}", *sys.argv[2:]]
    os.environ.setdefault("AESEG_LAUNCHER", "aeseg ")
    module = importlib.import_module(f"{package.__name__}.{command}")
    importlib.import_module(f"{package.__name__}.console.cli").main(module.run, trains=command in ("pretrain", "segment"))


def first_line(folder: str, command: str) -> str:
    """Return the first line of a command's docstring, without importing it."""
    with open(os.path.join(folder, f"{command}.py"), encoding="utf-8") as file:
        return file.readline().strip().strip('"')


if __name__ == "__main__":
    main()
