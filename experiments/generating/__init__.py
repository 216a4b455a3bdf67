"""Parts of `generate`: draws of a model, comparisons with real images, pictures."""
