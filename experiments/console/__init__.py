"""Common parts of the commands: flags, configs by name, error messages, progress."""
