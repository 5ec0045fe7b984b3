"""Watches a model while it trains: metrics, trackers, loss spikes, traces, peak memory."""
