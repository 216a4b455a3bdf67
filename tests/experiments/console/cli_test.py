"""experiments/console/cli.py: a command line reads its config file once."""

from experiments.console import cli

FILE = """
from experiments.configs import scenes

with open({log!r}, "a") as file:
    file.write("read ")


def get_config(argument="unet"):
    return scenes.get_config(argument)


def complete(config, overrides):
    config.batch_size = len(overrides)
"""


def test_a_config_file_is_executed_once_and_completes_its_fields_from_the_command_line(tmp_path):
    path, log = tmp_path / "mine.py", tmp_path / "log"
    path.write_text(FILE.format(log=str(log)))
    parsed = cli.parse(["segment", f"--config={path}:linear", "--config.steps=7", "--config.seed=3"], "", config="segment")
    assert (parsed.config.steps, parsed.config.seed, parsed.config.batch_size) == (7, 3, 2)
    assert parsed.config.method.head.target.endswith(":LinearHead")
    assert log.read_text() == "read "
