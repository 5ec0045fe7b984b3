"""Trajectories made here and now: batched solvers for four systems, behind the `Source` protocol."""

from polycli.mpp.sources.simulate.source import SimulateSource

__all__ = ["SimulateSource"]
