"""Scores of morphology: volunteers' votes that a head predicts, and retrieval of objects by their class."""
