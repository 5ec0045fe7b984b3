"""The page of `polycli serve`: a web server for one user, which shows embeddings and asks no other host."""
