"""A folder that nobody has described yet: its layout, its labels' coding, its splits, and one description of all of it."""
