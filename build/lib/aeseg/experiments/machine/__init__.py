"""The machine: processes, shares of its devices, and where a number was measured."""
