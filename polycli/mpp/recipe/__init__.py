"""Recipe sections of MPP and the physics that names datasets."""
