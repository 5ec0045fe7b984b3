"""Classes that a model fills in: its answers, and their scores."""
