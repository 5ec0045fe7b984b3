"""Forecasts: the frames they start from and the files they go to."""
