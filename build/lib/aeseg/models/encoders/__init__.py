"""Encoders (image -> Pyramid), one per file, found by file name."""
