"""Novelty: how unlike the training objects an object is, by statistics that are kept beside the weights."""
