"""What records can come from: one file per source."""
