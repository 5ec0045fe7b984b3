"""The Numformer, its number layers and heads, and its weights."""
