"""Random damage to files and texts, to find what a reader does not bear."""
