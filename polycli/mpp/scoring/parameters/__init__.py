"""Parameters of the physics: predicted by a head, or read off vectors by probes, beside simple methods."""
