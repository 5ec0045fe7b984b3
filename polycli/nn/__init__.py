"""Layers that the networks of two families share, and nothing else."""
