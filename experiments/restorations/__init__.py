"""Parts of `restore`: its table, and the usual methods beside the network."""
