"""Common parts of all commands: flags, configs by name, and error messages."""

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

from aeseg import files, renames, spec
from aeseg.data.inspection import description
from aeseg.runs import configs, own_data, workdir
from aeseg.runs.data import SPLITS
from aeseg.training import cluster, signals
from aeseg.types import UserError

from .. import configs as config_files
from . import helps

CONFIGS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "configs")

ALIASES = {"pretrain": "scenes:denoising", "segment": "scenes:unet"}
"""Default configs by command: `pretrain:masked` is `scenes:masked`."""

SOURCE_FIELDS = {"root": ("root", "data_dir")}
"""{name under `data`: fields of `data.source`}; the name means the first field that the source has."""


def main(command: Callable[[Sequence[str]], int | None], trains: bool = False) -> None:
    """Run a command: `if __name__ == "__main__": cli.main(run)`.  Errors that the user can fix exit with 2.

    A command that `trains` saves on SIGTERM and Ctrl-C, and ends within seconds with 143 or 130.
    """
    if not trains:
        sys.exit(guarded(command, sys.argv))
    with signals.listening(leaves=cluster.is_alone):
        code = guarded(command, sys.argv)
        if code > 128:
            cluster.part()
            signals.leave(code)
    sys.exit(code)


def guarded(command: Callable[[Sequence[str]], int | None], argv: Sequence[str]) -> int:
    """Return the command's exit code; print one message on stderr and return 2 for an error that the user can fix."""
    logging.set_verbosity(logging.ERROR)  # Orbax warns about requested actions
    try:
        return command(argv) or 0
    except UserError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at exit
        return 0
    except OSError as error:
        if error.errno not in files.REFUSALS:
            raise
        refusal = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        print(f"\nCannot write ({refusal}). Free some space or change the permissions; the same command continues.", file=sys.stderr)
        return 2
    except signals.Stopped as stop:
        print("\nStopped. The same command continues from the last checkpoint.", file=sys.stderr)
        return int(stop.code)
    except KeyboardInterrupt:
        print("\nInterrupted. The same command continues from the last checkpoint.", file=sys.stderr)
        return 130


def parse(argv: Sequence[str], usage: str, config: str = "", word: str = "", **options: tuple[Any, str]) -> SimpleNamespace:
    """Parse the flags of one call: `config` (if a default config is named), and options, name=(default, help).

    A flag has the type of its default; a flag whose default is a list may be repeated.
    `word` names the option that may also be given as a bare word.
    `overrides` holds the config fields that the command line sets: {"method.encoder.depth": 4}.
    There is no global state, so one process may parse many command lines.
    """
    values = absl_flags.FlagValues()
    define: dict[type, Callable[..., Any]] = {bool: absl_flags.DEFINE_bool, int: absl_flags.DEFINE_integer, float: absl_flags.DEFINE_float}
    define |= {str: absl_flags.DEFINE_string, list: absl_flags.DEFINE_multi_string}
    for name, (default, text) in options.items():
        define[type(default)](name, default, text, flag_values=values)
    absl_flags.DEFINE_bool("help", False, "show this help", short_name="h", flag_values=values)
    argv, node, module, config_name, by_name = list(argv), None, None, "", False
    if config:
        config_name, argv = taken(argv, "config", config)
        node, module = _loaded(config_name)
        if "data" in options:
            path, _ = taken(argv, "data", "")
            by_name = path.partition(",")[0] in spec.names("aeseg.data.sources")
            if by_name:
                own_data.use_source(node, path)
            elif path:
                own_data.use_data(node, description.read(path))
        window = tuple(node.get("window", ()))
        argv = [_current(word, node) for word in argv]
        check_keys(argv, node)
    try:
        if node is not None:
            config_flags.DEFINE_config_dict("config", node, sys_argv=argv, flag_values=values)
        rest = values(argv)
    except (absl_flags.Error, SyntaxError) as error:
        raise UserError(f"{error} ({os.path.basename(argv[0])} --help lists the flags.)") from None
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise UserError(f"A flag cannot be read: {error}") from None
    if values.help:
        print(usage.strip(), "\n\nFlags")
        print("\n".join(f"  {f'--{name}={default!r}':<20} {text}" for name, (default, text) in options.items()))
        if config:
            print(f"\nFields of the config {config_name}, each a flag\n{helps.fields(values.config)}")
        raise SystemExit(0)
    parsed = {name: getattr(values, name) for name in options}
    if word and len(rest) == 2 and not values[word].present:
        parsed[word] = rest[1]
    elif len(rest) > 1:
        raise UserError(f"Expected flags only (--name=value){f', and one {word}' if word else ''}; got {' '.join(rest[1:])!r}.")
    if config:
        overrides = config_flags.get_override_values(values["config"])
        if "window" in overrides:
            configs.follow_window(values.config, window)
        if by_name:
            own_data.complete(values.config, overrides)
        elif not parsed.get("data") and hasattr(module, "complete"):
            module.complete(values.config, overrides)  # fields of a config file that depend on the command line
        parsed |= {"config": values.config, "config_name": config_name, "overrides": overrides}
    return SimpleNamespace(**parsed)


def load_config(config_name: str) -> ConfigDict:
    """Load the config of `path/to/file.py:argument`, or of a run's config.json; a bare name is a file of experiments/configs."""
    return _loaded(config_name)[0]


def _loaded(config_name: str) -> tuple[ConfigDict, Any]:
    """Return the config of `load_config`, and the module of its file (None for a config.json)."""
    config_name = _unaliased(config_name)
    path = config_name.partition(":")[0]
    known = sorted({name[:-3] for name in os.listdir(CONFIGS) if name.endswith(".py") and name != "__init__.py"} | ALIASES.keys())
    if path.endswith(".json") and os.path.isfile(path):
        config = workdir.read_config(path)
        spec.build_run(config)  # checks the fields here, because commands read them before they build the config
        return config, None
    path = path if path.endswith((".py", ".json")) else os.path.join(CONFIGS, path + ".py")
    if not os.path.isfile(path):
        raise UserError(f"Expected a config file; {path!r} does not exist. aeseg has {', '.join(known)} (experiments/configs/*.py).")
    config, module = call_file(config_name, path, "get_config")
    return config if "target" in config else spec.from_json(spec.to_json(config)), module  # a file of a version before `Run`


def call_file(config_name: str, path: str, function: str) -> tuple[Any, Any]:
    """Call a function of a Python file with the argument in `file.py:argument`, if any; return (its result, the module)."""
    argument = config_name.partition(":")[2]
    try:
        module = _module(path)
        return getattr(module, function)(*([argument] if argument else [])), module
    except UserError:
        raise
    except (TypeError, AttributeError, SyntaxError, ImportError, KeyError) as error:
        raise UserError(f"{config_name} cannot be read: {type(error).__name__}: {error}") from error


def _module(path: str) -> Any:
    """Import the config file as a module; a file of experiments/configs may import others of its package."""
    own = os.path.dirname(os.path.abspath(path)) == CONFIGS
    name = f"{config_files.__name__}.{os.path.splitext(os.path.basename(path))[0]}" if own else "aeseg_config"
    loader = importlib.util.spec_from_file_location(name, path)
    loaded = importlib.util.module_from_spec(loader)  # type: ignore[arg-type]
    loader.loader.exec_module(loaded)  # type: ignore[union-attr]
    return loaded


def data_flags(flags: SimpleNamespace) -> list[str]:
    """Return the flags of a command line that name its data, for the next command: --data and --config.data fields."""
    fields = [f"--config.{name}={value}" for name, value in flags.overrides.items() if name.startswith("data.")]
    return [*([f"--data={flags.data}"] if flags.data else []), *fields]


def run_name(config_name: str) -> str:
    """Return the last part of the default workdir: `camvid-denoising` for `experiments/configs/camvid.py:denoising`."""
    path, _, argument = config_name.partition(":")
    stem = os.path.splitext(os.path.basename(path))[0]
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{stem}-{argument}" if argument else stem).strip("-")


def taken(argv: list[str], flag: str, default: str) -> tuple[str, list[str]]:
    """Return the value of a flag such as --config, or the default, and the command line without it."""
    chosen, rest, skip = default, [], False
    for position, word in enumerate(argv):
        if skip:
            skip = False
        elif re.match(rf"--?{flag}=", word):
            chosen = word.partition("=")[2]
        elif word in (f"--{flag}", f"-{flag}"):
            if position + 1 == len(argv):
                raise UserError(f"--{flag} needs a value: --{flag}=<file>.")
            chosen, skip = argv[position + 1], True
        else:
            rest.append(word)
    return chosen, rest


def _unaliased(config_name: str) -> str:
    """Replace a command by its default config: `scenes:masked` for `pretrain:masked`."""
    name, colon, argument = config_name.partition(":")
    if name not in ALIASES:
        return config_name
    return f"{ALIASES[name].partition(':')[0]}:{argument}" if colon else ALIASES[name]


def _current(word: str, node: ConfigDict) -> str:
    """Return a word of a command line with a short config field name, or the name of an earlier version, replaced by the full name.

    --config.freeze is --config.transfer, --config.epochs is --config.given.epochs, and --config.data.root is the root of the source.  A
    field of the source that is set for one split becomes a field of that split.
    """
    match = re.match(r"(--?config\.)([^=\[.]+)(?:\.([^=\[.]+))?(?:\.([^=\[.]+))?(.*)", word, re.DOTALL)
    if not match or "target" not in node:
        return word
    dashes, first, second, third, rest = match.groups()
    if second is None and first not in node:
        renamed = renames.FIELDS[renames.RUN].get(first, first)
        return f"{dashes}{'given.' if first in node.given else ''}{renamed}{rest}"
    if first == "data" and "source" in node.data:
        source = node.data.source
        if second in SPLITS and third and third in source and third not in node.data[second]:
            with node.unlocked():
                node.data[second][third] = source[third]
        elif second is not None and third is None and second not in node.data:
            names = SOURCE_FIELDS.get(second, (second,))
            if name := next((each for each in names if each in source), ""):
                return f"{dashes}data.source.{name}{rest}"
    return word


def set_fields(config: ConfigDict, fields: Mapping[str, Any]) -> ConfigDict:
    """Set fields of a config as --config.<name>=<value> does, with values of their types; return the config."""
    window = tuple(config.get("window", ()))
    for field, value in fields.items():
        *parents, last = re.findall(r"[^.\[\]]+", field_name(field, config))
        value_at(config, ".".join(parents))[last] = value
    if "window" in fields:
        configs.follow_window(config, window)
    return config


def value_at(config: Any, field: str) -> Any:
    """Return the value in a config at a path such as `data.transforms[0].probability`."""
    for part in re.findall(r"[^.\[\]]+", field):
        config = config[int(part)] if isinstance(config, list | tuple) else config[part]
    return config


def field_name(field: str, config: ConfigDict) -> str:
    """Return the full name of a config field written as on the command line; UserError if the config has no such field."""
    word = _current(f"--config.{field}=", config)
    check_keys([word], config)
    return word.removeprefix("--config.").removesuffix("=")


def check_keys(argv: Sequence[str], node: ConfigDict) -> None:
    """Raise UserError with the nearest known field for a --config.<key> that the config lacks."""
    for word in argv:
        match = re.match(r"--?config\.([^=]*)", word)
        if not match:
            continue
        here: Any = node
        for position, part in enumerate(match.group(1).split(".")):
            name = re.match(r"([^\[]*)", part).group(1)  # type: ignore[union-attr]
            if not isinstance(here, Mapping | ConfigDict) or name not in here:
                known = sorted(here.keys()) if isinstance(here, Mapping | ConfigDict) else []
                above = ".".join(["config", *match.group(1).split(".")[:position]])
                raise UserError(f"{above} has no {name!r}{spec.suggestion(name, known)}; it has {', '.join(known) or 'no fields'}.")
            here = here[name]
            for index in map(int, re.findall(r"\[(\d+)\]", part)):
                if not isinstance(here, list | tuple) or index >= len(here):
                    size = f"{len(here)} entries, counted from 0" if isinstance(here, list | tuple) else "no entries"
                    above = ".".join(["config", *match.group(1).split(".")[:position], name])
                    raise UserError(f"{above} has no [{index}]; it has {size}.")
                here = here[index]
