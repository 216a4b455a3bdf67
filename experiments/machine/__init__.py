"""The machine: processes, shares of its devices, and provenance of measurements."""
