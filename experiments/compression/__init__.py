"""Parts of `compress` and `decompress`: codecs of workdirs, and the table beside JPEG and WebP."""
