"""The interface of every encoding of numbers."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from polycli.json_records import JsonObject
from polycli.xval.recipe.model import EncodingName


class Encoding(Protocol):
    """One way to write numbers as tokens. Its token ids count from 0 within `vocabulary_tokens`."""

    @property
    def name(self) -> EncodingName:
        """The name of the encoding in recipes."""
        ...

    @property
    def continuous(self) -> bool:
        """Whether a number is one [NUM] that carries its value, instead of tokens of its own."""
        ...

    @property
    def double(self) -> bool:
        """Whether the model is given the value at a [NUM] in float64, to tell all of its digits or bits."""
        ...

    @property
    def fixed_point(self) -> bool:
        """Whether `exponents` are those of digits, the last of which rounds whatever is smaller."""
        ...

    @property
    def tokens_per_number(self) -> int:
        """The number of tokens of every number."""
        ...

    @property
    def vocabulary_tokens(self) -> tuple[str, ...]:
        """Names of the tokens that numbers are written with, each once; empty where continuous."""
        ...

    @property
    def slots(self) -> tuple[tuple[int, int], ...]:
        """Gives, for each token of a number, the range of ids (first, one past the last) that may stand there."""
        ...

    @property
    def exponents(self) -> tuple[int, int] | None:
        """Powers of ten of the smallest and the largest number that can be written; None where there is no bound."""
        ...

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.int32]:
        """Token ids, (numbers, tokens_per_number), all 0 where a number is a [NUM]. Text forms keep three figures.

        Raises:
            NumberRangeError: a number is outside `exponents`, or not finite.
        """
        ...

    def decode(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """Numbers of token ids, (numbers, tokens_per_number); NaN where they are no number."""
        ...

    def to_json(self) -> JsonObject:
        """Returns the encoding as it stands in model.json."""
        ...


class NumberRangeError(ValueError):
    """A number that an encoding cannot write: its position among those that were given, and why."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position
