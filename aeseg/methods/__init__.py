"""Methods: one file = one way to train.  Found by its name."""
