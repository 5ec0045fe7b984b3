"""Files in the schema of The Well, behind the `Source` protocol."""

from polycli.mpp.sources.well.source import WellSource

__all__ = ["WellSource"]
