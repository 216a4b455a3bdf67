"""Pages of `report`: gather the results of runs, comparisons and tables, and draw them as one HTML file."""
