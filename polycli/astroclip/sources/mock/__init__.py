"""A survey made here and now: galaxies with known physics, as grz cutouts and DESI-like spectra, without downloads."""

from polycli.astroclip.sources.mock.source import MockSource

__all__ = ["MockSource"]
