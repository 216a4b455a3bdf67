"""Config files, one screen each."""
