"""The source `well`: files in the schema of The Well, one store for each dataset and grid."""

from polycli.mpp.sources.well.source import WellSource

__all__ = ["WellSource"]
