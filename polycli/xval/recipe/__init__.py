"""Recipe sections of xVal."""
