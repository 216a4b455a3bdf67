"""What every entry point shares: flags, the config file, errors as sentences, and the workdir."""

import errno
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from absl import flags as absl_flags
from absl import logging
from ml_collections import ConfigDict, config_flags

from aeseg import spec
from aeseg.types import UserError

CONFIGS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "configs")

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)
"""What an operating system says when there is no space or no permission."""

MAY_CHANGE = ("log_every", "keep", "data.threads", "data.workers", "data.cache_gib")
"""Fields that another run in the same workdir may set otherwise: they change no number."""


def main(command: Callable[[Sequence[str]], int | None]) -> None:
    """Run an entry point: `if __name__ == "__main__": cli.main(run)`.  What the user can mend exits with 2."""
    sys.exit(guarded(command, sys.argv))


def guarded(command: Callable[[Sequence[str]], int | None], argv: Sequence[str]) -> int:
    """The command's exit code; 2, and one message on stderr, for an error the user can mend."""
    logging.set_verbosity(logging.ERROR)  # Orbax warns of what it was asked to do
    try:
        return command(argv) or 0
    except UserError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        refusal = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        print(f"\nCannot write ({refusal}). Free some space or mend the permissions; the same command goes on.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from the last checkpoint.", file=sys.stderr)
        return 130


def parse(argv: Sequence[str], usage: str, config: str = "", word: str = "", **options: tuple[Any, str]) -> SimpleNamespace:
    """The flags of one call: `config` (when a default config is named), and the options, name=(default, help).

    A default's type is the flag's.  `word` names the option that may be given as a bare word, too.
    `overrides` lists what the command line set in the config: {"method.encoder.depth": 4}.
    Knows no global state, so one process may parse many command lines.
    """
    values = absl_flags.FlagValues()
    define = {bool: absl_flags.DEFINE_bool, int: absl_flags.DEFINE_integer, float: absl_flags.DEFINE_float, str: absl_flags.DEFINE_string}
    for name, (default, text) in options.items():
        define[type(default)](name, default, text, flag_values=values)
    absl_flags.DEFINE_bool("help", False, "show this", short_name="h", flag_values=values)
    argv, node, described = list(argv), None, ""
    if config:
        described, argv = _config_argument(argv, config)
        node = load_config(described)
        check_keys(argv, node)
        config_flags.DEFINE_config_dict("config", node, sys_argv=argv, flag_values=values)
    try:
        rest = values(argv)
    except absl_flags.Error as error:
        raise UserError(f"{error} ({os.path.basename(argv[0])} --help lists the flags.)") from None
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise UserError(f"A flag cannot be read: {error}") from None
    if values.help:
        print(usage.strip(), "\n")
        print(
            values.get_help()
            if not node
            else f"{values.get_help()}\n\nThe config ({described}), each line a flag --config.<name>=...:\n{node}"
        )
        raise SystemExit(0)
    found = {name: getattr(values, name) for name in options}
    if word and len(rest) == 2 and not values[word].present:
        found[word] = rest[1]
    elif len(rest) > 1:
        raise UserError(f"Expected flags only (--name=value){f', and one {word}' if word else ''}; got {' '.join(rest[1:])!r}.")
    if config:
        found |= {"config": values.config, "config_name": described, "overrides": config_flags.get_override_values(values["config"])}
    return SimpleNamespace(**found)


def load_config(described: str) -> ConfigDict:
    """The config of `path/to/file.py:argument`, or of a run's config.json; a bare name means a file of experiments/configs."""
    path = described.partition(":")[0]
    known = sorted(name[:-3] for name in os.listdir(CONFIGS) if name.endswith(".py") and name != "__init__.py")
    if path.endswith(".json") and os.path.isfile(path):
        return _read(path)
    if not path.endswith((".py", ".json")):
        path = os.path.join(CONFIGS, path + ".py")
    if not os.path.isfile(path):
        raise UserError(
            f"Expected a config file; {path!r} does not exist. Those of aeseg are {', '.join(known)} (experiments/configs/*.py)."
        )
    return call_file(described, path, "get_config")


def call_file(described: str, path: str, function: str) -> Any:
    """What the named function of a Python file returns for the argument of `file.py:argument`, where one is given."""
    argument = described.partition(":")[2]
    loader = importlib.util.spec_from_file_location("aeseg_config", path)
    module = importlib.util.module_from_spec(loader)  # type: ignore[arg-type]
    try:
        loader.loader.exec_module(module)  # type: ignore[union-attr]
        return getattr(module, function)(*([argument] if argument else []))
    except UserError:
        raise
    except (TypeError, AttributeError, SyntaxError, ImportError, KeyError) as error:
        raise UserError(f"{described} cannot be read: {type(error).__name__}: {error}") from error


def claim(workdir: str, config: ConfigDict, writes: bool = True) -> None:
    """Make the workdir this config's own: write config.json (one process `writes`), or compare with the one that is there."""
    path = os.path.join(workdir, "config.json")
    if os.path.exists(path):
        old = stored_config(workdir)
        lines = [line for line in spec.differences(old, config) if not line.startswith(tuple(f"config.{n}:" for n in MAY_CHANGE))]
        if lines:
            raise UserError(
                f"{workdir} holds a run of another config:\n  " + "\n  ".join(lines) + "\n"
                "Name another --workdir, or remove this one to start again."
            )
        return
    if not writes:
        return
    try:
        os.makedirs(workdir, exist_ok=True)
        with open(path + ".tmp", "w", encoding="utf-8") as file:
            file.write(spec.to_json(config))
        os.replace(path + ".tmp", path)
    except OSError as error:
        raise UserError(f"Cannot write to {workdir}: {error.strerror}. Name another --workdir.") from error


def stored_config(workdir: str) -> ConfigDict:
    """The config of a run, from its workdir."""
    path = os.path.join(workdir, "config.json")
    if not os.path.exists(path):
        raise UserError(f"Expected a run in {workdir!r}; there is no {path}. Name the --workdir of a run.")
    return _read(path)


def run_name(config_name: str) -> str:
    """`camvid-denoising` of `experiments/configs/camvid.py:denoising`: the default workdir's last part."""
    path, _, argument = config_name.partition(":")
    stem = os.path.splitext(os.path.basename(path))[0]
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{stem}-{argument}" if argument else stem).strip("-")


def _read(path: str) -> ConfigDict:
    """The config that a run wrote."""
    try:
        with open(path, encoding="utf-8") as file:
            return spec.from_json(file.read())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}). Restore the file or start again in another --workdir.") from error


def _config_argument(argv: list[str], default: str) -> tuple[str, list[str]]:
    """The value of --config, and the command line without it."""
    chosen, rest, skip = default, [], False
    for place, word in enumerate(argv):
        if skip:
            skip = False
        elif re.match(r"--?config=", word):
            chosen = word.partition("=")[2]
        elif word in ("--config", "-config"):
            if place + 1 == len(argv):
                raise UserError("--config needs a value: --config=<file>[:argument].")
            chosen, skip = argv[place + 1], True
        else:
            rest.append(word)
    return chosen, rest


def check_keys(argv: Sequence[str], node: ConfigDict) -> None:
    """Raise UserError for a --config.<key> that the config does not have, with the nearest that it has."""
    for word in argv:
        match = re.match(r"--?config\.([^=]+)", word)
        if not match:
            continue
        here: Any = node
        for place, part in enumerate(match.group(1).split(".")):
            name = re.match(r"([^\[]*)", part).group(1)  # type: ignore[union-attr]
            if not isinstance(here, Mapping | ConfigDict) or name not in here:
                known = sorted(here.keys()) if isinstance(here, Mapping | ConfigDict) else []
                above = ".".join(["config", *match.group(1).split(".")[:place]])
                raise UserError(f"{above} has no {name!r}{spec.suggestion(name, known)}; it has {', '.join(known) or 'no fields'}.")
            here = here[name]
            for index in map(int, re.findall(r"\[(\d+)\]", part)):
                if not isinstance(here, list | tuple) or index >= len(here):
                    size = f"{len(here)} entries, counted from 0" if isinstance(here, list | tuple) else "no entries"
                    above = ".".join(["config", *match.group(1).split(".")[:place], name])
                    raise UserError(f"{above} has no [{index}]; it has {size}.")
                here = here[index]
