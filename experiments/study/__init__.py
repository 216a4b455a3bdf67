"""Tables of results: training, plans, statistics, printing and drawing."""
