"""Judges objects before they are stored: which are kept out, which are kept though doubtful, and why."""
