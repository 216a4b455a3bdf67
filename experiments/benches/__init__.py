"""Benchmarks of `bench`, one per file."""
