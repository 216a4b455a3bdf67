"""Import and export of weights of other libraries. One file is one family of models; rules, files and adapt are shared."""
