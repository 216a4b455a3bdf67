"""Draw labels from annotation files with polygons, boxes and run lengths.  Each format has one module."""
