"""Developer tools: what ``python dev.py`` runs. Not part of the shipped pack."""
