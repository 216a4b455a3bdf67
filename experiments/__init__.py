"""Commands, configs, paper tables and recorded results."""


def module(name: str) -> str:
    """Return the name to run one of our modules with `python -m`: `experiments.<name>`, or `aeseg.experiments.<name>` if installed."""
    return f"{__name__}.{name}"
