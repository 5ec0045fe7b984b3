"""Records as text and numbers: key paths, values, units, and their tokens."""
