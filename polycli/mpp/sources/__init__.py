"""Sources of trajectories: one file for each, all behind the `Source` protocol of `base`."""
