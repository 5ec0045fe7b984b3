"""Cells of the sky: by which objects are divided into splits, and of which folders of the Multimodal Universe are."""
