"""Parts of `restore`: its table, and the usual methods that it compares with."""
