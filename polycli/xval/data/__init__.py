"""Records in stores: tokenization, batches to read, rows to write."""
