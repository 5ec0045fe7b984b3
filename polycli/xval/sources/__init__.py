"""Where the records of `prepare xval` come from: one file for each source."""
