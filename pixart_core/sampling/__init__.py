"""Solvers, as diffusers has them, and the noise schedule that PixArt was trained with."""
