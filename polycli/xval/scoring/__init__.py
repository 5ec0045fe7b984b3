"""Errors of filled-in values: measures, baselines, tables and the report."""
