"""Checkpoints: what is this file, and what does it hold? Read safely, whoever wrote it. Knows no family."""
