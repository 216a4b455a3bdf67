"""Decoders: Pyramid -> image.  One file each, found by its name."""
