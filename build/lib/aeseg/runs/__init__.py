"""One run: a config becomes a `Run`, a run fills a workdir, a workdir gives numbers and predictions.  No flags here."""
