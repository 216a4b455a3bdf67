"""Parts of `sweep`: spaces of values, samplers, trials."""
