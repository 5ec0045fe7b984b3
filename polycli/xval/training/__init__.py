"""Batches, masking, objective and validation of xVal trainings."""
