"""``python dev.py bench WHAT``: measurements, each a module with ``main(arguments)``."""
