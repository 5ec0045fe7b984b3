"""Image and spectrum encoders, their projections and heads, and their weights."""
