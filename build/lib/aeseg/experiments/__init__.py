"""Commands, configs, paper tables and recorded results."""


def module(name: str) -> str:
    """Return the name by which Python runs one of our modules: `experiments.<name>`, or `aeseg.experiments.<name>` if installed."""
    return f"{__name__}.{name}"
