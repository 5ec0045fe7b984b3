"""Where points come from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from linefit.points import Points
from linefit.recipes import PrepareRecipe
from polycli.errors import SourceError


class CsvSource:
    """Numbers with commas between them; the last column is what is to be told from the others."""

    suffix, delimiter = ".csv", ","

    def accepts(self, path: Path) -> bool:
        return path.suffix == self.suffix

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Points:
        (path,) = inputs
        if not self.accepts(path):
            raise SourceError(f"{path}: no {self.suffix} file")
        return Points(path, np.loadtxt(path, delimiter=self.delimiter)[:limit].astype(np.float32))
