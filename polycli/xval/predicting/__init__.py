"""Records to fill in, and the files that the filled ones go to."""
