"""The values that a record may hold: those of JSON, and two that JSON text has and Python's values lack."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Union

_INTEGER = re.compile(r"-?[0-9]+")


#: How deep lists and objects may stand in each other.
MOST_LEVELS = 200
TOO_DEEP = f"is nested deeper than {MOST_LEVELS} levels"


class RecordError(ValueError):
    """A value that cannot become a record; the message says what was found, the caller knows where."""


@dataclass(frozen=True)
class FreeText:
    """Text whose numbers are numbers to the model; a plain `str` stays text, digits and all."""

    text: str


@dataclass(frozen=True)
class NumberLiteral:
    """A number as it was written, for what float64 cannot hold: `1e400`, integers that it would round."""

    text: str

    def value(self) -> int | float:
        """The number as Python reads it: exact for integers, infinite or zero where a float64 overflows or underflows.

        Raises:
            ValueError: it is no number.
        """
        # By way of Decimal, because Python refuses to turn more than 4300 digits into an int directly.
        return int(Decimal(self.text)) if _INTEGER.fullmatch(self.text) else float(self.text)


Value = Union[  # noqa: UP007  # a recursive alias needs the names as strings
    None, bool, int, float, str, FreeText, NumberLiteral, Sequence["Value"], Mapping[str, "Value"]
]


@dataclass(frozen=True)
class Record:
    """One record: a value, its name, and the group whose members must share a split."""

    id: str
    value: Value
    group: str | None = None
