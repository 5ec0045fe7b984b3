"""AstroCLIP (Parker et al. 2024): galaxy images and spectra in one space."""
