"""Images and labels from disk to batches."""
