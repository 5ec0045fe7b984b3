"""Counts what a model costs, in operations and activations, on shapes alone."""
