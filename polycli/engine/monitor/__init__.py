"""What is watched while a model trains: metrics, trackers, loss spikes, traces, peak memory."""
