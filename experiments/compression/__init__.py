"""Parts of `compress` and `decompress`."""
