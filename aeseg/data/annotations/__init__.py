"""Labels drawn from annotation files: polygons, boxes and run lengths.  One module per format."""
