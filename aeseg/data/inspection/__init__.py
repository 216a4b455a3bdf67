"""Inspection of an unknown folder: its layout, the coding of its labels, its splits, and one description of all these."""
