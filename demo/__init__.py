"""The tiny PixArt that the project ships: what it is taught, how, and how it is judged."""
