"""The templates of the template browser: written once, in Python, and made into both forms."""
