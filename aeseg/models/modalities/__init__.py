"""Modalities: conversion of a batch to tokens, and of a decoder's values to an error.  One file per modality.

A modality is a module with
  key               the batch entry that it reads; `has_<key>` [b], if present, marks the records that have it (default: all)
  term              the name of its error
  grid(batch)       (rows, columns) of its tokens
  present(batch)    which tokens exist: [b n]
  __call__(batch, width, dtype)   the tokens, positions included: [b n width]
  numbers(batch)    the number of values that a decoder returns for a token
  error(values, batch)            the error of each token: [b n]
  picture(values, visible, batch) an image or label map with predicted hidden tokens; None if it cannot be shown
Modalities beside the image and the label also have
  example(h, w)     zeros of one record, to initialise a network without data
and those that are aligned with the image
  pixels(batch)     what a convolutional encoder reads: [b h w c]
  seen(batch)       what pictures show
"""
