"""The generator of a checkpoint as a file for other programs, or as a page for a browser."""
