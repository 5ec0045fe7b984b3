"""Stores: one zarr group with its schema, statistics, splits, provenance and checksums. Knows no family."""
