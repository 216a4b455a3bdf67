"""The one loop, and what it stands on."""
