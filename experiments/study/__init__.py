"""Tables of results: rows, measurements, printing and drawing."""
