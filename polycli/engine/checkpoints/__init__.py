"""Checkpoints of a run: writing, keeping, reading back, exporting."""
