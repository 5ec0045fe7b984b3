"""Search for the nearest neighbours in embeddings; `polycli.search.searcher` is what others use."""
