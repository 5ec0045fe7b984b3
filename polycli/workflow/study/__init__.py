"""Studies: a grid of runs, evaluated alike, and one table of what came out; any family."""
