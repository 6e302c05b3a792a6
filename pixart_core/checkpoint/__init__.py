"""Reading PixArt checkpoints and telling what they are."""
