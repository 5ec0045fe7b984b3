"""The source `spectra`: one spectrum in each FITS file, a table of pixels or an image with a wavelength axis."""
