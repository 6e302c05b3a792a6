"""Trying the pack with files of the user's: ours, the host's own PixArt and diffusers' beside."""
