"""What a source opens, and its way into a store."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from linefit.recipes import PrepareRecipe
from polycli.store.blocks import BlockBuilder, ColumnSpec
from polycli.store.hashing import canonical_hash
from polycli.store.manifest import SourceFile
from polycli.store.splits import describe_split, split_rows

PIECE = "all"


@dataclass(frozen=True)
class Points:
    """(row, column) float32, from one file."""

    path: Path
    values: np.ndarray


@dataclass(frozen=True)
class StagePoints:
    """All rows of a store."""

    target: Path
    fingerprint: str
    points: Points

    def run(self) -> None:
        values = self.points.values
        columns = {"x": values[:, :-1], "y": values[:, -1]}
        ids = [f"{self.points.path.name}:{row}" for row in range(len(values))]
        builder = BlockBuilder(self.target, fingerprint=self.fingerprint)
        builder.stage(PIECE, columns, {}, ids=ids, content=("x", "y"), source=self.points.path.name)


@dataclass(frozen=True)
class PointsPlan:
    """A store on its way."""

    target: Path
    points: Points
    recipe: PrepareRecipe
    sources: tuple[SourceFile, ...]
    options: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        sources = [source.model_dump(mode="json") for source in self.sources]
        return canonical_hash({"name": self.target.stem, "sources": sources, "options": self.options})

    @property
    def keys(self) -> list[str]:
        return [PIECE]

    def task(self, key: str) -> StagePoints:
        return StagePoints(self.target, self.fingerprint, self.points)

    def is_staged(self, key: str) -> bool:
        return BlockBuilder(self.target, fingerprint=self.fingerprint).record(key) is not None

    def publish(self) -> Path:
        builder = BlockBuilder(self.target, fingerprint=self.fingerprint)
        rows = builder.rows(self.keys)
        fractions = {"validation": self.recipe.validation, "test": self.recipe.test}
        splits = split_rows(rows.hex_hashes(), **fractions)
        return builder.publish(
            rows,
            {"x": ColumnSpec(("column",)), "y": ColumnSpec()},
            family="linefit",
            name=self.target.stem,
            splits=splits,
            split_rule=describe_split(splits, **fractions),
            statistics={},
            sources=self.sources,
            rejected=rows.duplicates,
            options=self.options,
        )
