"""Layers that the networks of two families share, and arithmetic of vectors that search and scores share."""
