"""Layers that two families share, and nothing else."""
