"""Heads: Pyramid -> Pyramid of logits.  One file each, found by its name."""
