"""From a trained state to numbers and pictures."""
