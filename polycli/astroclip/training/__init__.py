"""Stages, objectives, batches and validation of AstroCLIP trainings."""
