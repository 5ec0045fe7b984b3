"""Trajectories in stores: windows to read, rows to write."""
