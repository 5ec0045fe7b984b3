"""Neighbours in embeddings."""
