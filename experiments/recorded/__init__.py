"""Recorded results: rows of tables, what each row means, and the lines that belong to a row."""
