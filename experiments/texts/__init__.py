"""The statements of texts, each tested by comparisons: one file for each text, named like the table that measures its rows."""
