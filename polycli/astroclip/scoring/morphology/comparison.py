"""The two sides of a comparison, objects to learn from and objects to be scored, with how they are scored."""

from __future__ import annotations

from dataclasses import dataclass, replace

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.recipe.settings import EvalSettings
from polycli.astroclip.scoring.measure import Side
from polycli.report.bootstrap import Bootstrap


@dataclass(frozen=True)
class Comparison:
    """Objects of one store on both sides, the settings, and the bootstrap behind intervals."""

    store: ObjectStore
    reference: Side
    test: Side
    settings: EvalSettings
    bootstrap: Bootstrap

    def first(self, count: int) -> Comparison:
        """The same with the first `count` test objects."""
        return replace(self, test=self.test.first(count))
