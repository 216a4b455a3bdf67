"""Labels that are drawn from annotation files: polygons, boxes and run lengths.  One file for each format."""
