"""Data sources: random access to records.  One file each, found by its name."""
