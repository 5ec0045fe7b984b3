"""A look into foreign files, format by format: what each array and column is, and the first rows."""
