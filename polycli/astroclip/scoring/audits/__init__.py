"""Audits of vectors: how much of a score is owed to how objects were observed, and what is left without it."""
