"""Modalities: from a batch to tokens, and from a decoder's numbers to an error.  One file each.

A modality is a module with
  key               what it reads of a batch; `has_<key>` [b], if the batch holds it, says which records have it (all without it)
  term              the name of its error
  grid(batch)       (rows, columns) of its tokens
  present(batch)    which tokens exist: [b n]
  __call__(batch, width, dtype)   the tokens, positions included: [b n width]
  numbers(batch)    how many numbers a decoder gives for a token
  error(values, batch)            the error of each token: [b n]
  picture(values, visible, batch) the modality as an image or label map, hidden tokens predicted; None if it cannot be shown
"""
