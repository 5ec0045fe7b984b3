"""The source `hats`: catalogues in HATS, and other Parquet files, with images and spectra in nested columns."""
