"""Input and output files of `predict`."""
