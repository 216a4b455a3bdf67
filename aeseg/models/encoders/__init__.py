"""Encoders: image -> Pyramid.  One file each, found by its name."""
