"""A long and mixed queue on one server, to see whether it keeps running."""
