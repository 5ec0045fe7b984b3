"""Errors of forecasts: metrics, rollouts, baselines, tables and the report."""
