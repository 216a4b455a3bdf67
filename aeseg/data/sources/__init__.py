"""Data sources: random access to records.  One module per source, found by its name."""
