"""The axial vision transformer, its layers, and its weights."""
