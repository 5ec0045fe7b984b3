"""Bands around forecasts: how they are measured, tested and shown."""
