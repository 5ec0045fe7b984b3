"""Recipe sections of AstroCLIP."""
