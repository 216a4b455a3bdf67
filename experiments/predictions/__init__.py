"""Input and output files of `predict`, `restore` and `anomalies`."""
