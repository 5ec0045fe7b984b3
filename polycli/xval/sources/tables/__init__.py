"""Tables as they lie on disk: text, Parquet and typed files, and how each column is read."""
