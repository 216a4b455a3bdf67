"""Inference and evaluation of trained models: predictions, scores and pictures."""
