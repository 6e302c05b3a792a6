"""Input that is bad in every way we could think of, as data, with what becomes of it."""
