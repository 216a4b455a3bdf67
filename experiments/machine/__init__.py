"""Processes, parts of the machine's devices, and provenance of measurements."""
