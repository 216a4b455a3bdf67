"""Heads (Pyramid -> Pyramid of logits), one per file, found by file name."""
