"""Objects in stores: images, spectra and catalogue columns, to read and to write."""
