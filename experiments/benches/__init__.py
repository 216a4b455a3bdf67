"""The benchmarks of `bench`."""
