"""Numbers as themselves: one [NUM] each, whose value goes along (Golkar et al. 2023, section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polycli.json_records import JsonObject


@dataclass(frozen=True)
class Continuous:
    """`xval`, and `multiscale` and `bits`, which differ in the model alone."""

    name: Literal["xval", "multiscale", "bits"]
    continuous: Literal[True] = True
    fixed_point: Literal[False] = False
    tokens_per_number: int = 1
    vocabulary_tokens: tuple[str, ...] = ()
    slots: tuple[tuple[int, int], ...] = ()
    exponents: tuple[int, int] | None = None

    @property
    def double(self) -> bool:
        """Whether the model is given values in float64: where it looks at each of their bits."""
        return self.name == "bits"

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.int32]:
        """Zeros: all that tells numbers apart goes beside the tokens."""
        return np.zeros((len(values), 1), dtype=np.int32)

    def decode(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """NaN: no token has a value."""
        return np.full(len(ids), np.nan)

    def to_json(self) -> JsonObject:
        """Returns the encoding as it stands in model.json."""
        return {"name": self.name}
