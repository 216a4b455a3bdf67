"""Further modalities of a folder's records: aligned planes, captions, sounds, pseudo-labels; each read from files with the images' names.

A reader has
  key                  the record's entry
  notes                inferred facts, a sentence each
  read(files, image)   the entries of a record: `key`, and `has_<key>`, False for a record without a file (zeros; labels: IGNORE)
"""
