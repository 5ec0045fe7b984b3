"""Sources of records: one file for each."""
