"""Search for the nearest neighbours in embeddings."""
