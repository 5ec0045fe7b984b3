"""Decides which samples a step has and which rank takes which, and reads them ahead."""
