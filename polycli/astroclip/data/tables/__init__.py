"""Tables of other people in FITS, VOTable, Parquet, CSV, ECSV or HDF5: what is in them, and the columns asked for."""
