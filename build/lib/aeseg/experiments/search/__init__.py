"""The sweep: spaces of values, samplers, trials."""
