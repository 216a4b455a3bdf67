"""Foreign weights in and out: one file = one family of models.  Found by its name; rules, files and adapt serve them all."""
