"""The pages of `report`: what is gathered of runs, comparisons and tables, and how it is drawn as one file of HTML."""
