"""Posteriors of properties: distributions from quantiles, their scores, and the calibration of their intervals."""
