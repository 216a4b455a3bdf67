"""Runs: a config becomes a `Run`, a run fills a workdir, and a workdir gives scores and predictions.  No flags here."""
