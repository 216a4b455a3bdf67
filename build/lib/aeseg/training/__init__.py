"""Training: the loop, the step, optimisers, checkpoints and logs."""
