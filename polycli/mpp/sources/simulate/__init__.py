"""The source `simulate`: trajectories made here and now, by batched solvers for four systems."""

from polycli.mpp.sources.simulate.source import SimulateSource

__all__ = ["SimulateSource"]
