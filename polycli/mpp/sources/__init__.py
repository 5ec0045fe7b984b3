"""Where trajectories come from: one file per source, all behind the `Source` protocol of `base`."""
