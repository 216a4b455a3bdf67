"""The tables: rows, what was measured of them, and how they are printed and drawn."""
