"""One file for each thing that images and spectra can come from."""
