"""Decoders (Pyramid -> image), one per file, found by file name."""
