"""Files of compressed images: integer tables, exact scales, range coding, and a header that is checked."""
