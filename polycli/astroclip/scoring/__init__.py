"""Scores of embeddings: probes, retrieval, reconstruction, tables and the report."""
