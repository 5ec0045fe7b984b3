"""Batches, objective and validation of MPP trainings."""
