"""Reads a cell of a table: a number, a limit, a number with its error or unit, nothing, or text.

A cell alone does not tell whether `1,500` is one and a half or fifteen hundred: `columns` decides that, from all cells
of a column together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

#: An exponent may be Fortran's, `1.5D+03`; without digits behind it, `5d` is five days.
_NUMBER = r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eEdD][+-]?\d+)?"
_CELL = re.compile(
    rf"\s*(?:(?P<limit><=|>=|[<>≤≥])\s*)?(?P<number>{_NUMBER})(?:\s*(?:±|\+/-|\+-)\s*(?P<error>{_NUMBER}))?"
    r"(?:\s*(?P<unit>[^\d\s.,+\-<>±][^<>±]*)|\s*)"
)
_WHOLE = re.compile(r"[+-]?\d+")
_ZERO_LED = re.compile(r"[+-]?0\d")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
#: Digits in groups of three, by what stands between the groups, with the decimal mark that is then left.
_GROUPS = {
    ",": re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?"),
    ".": re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+(?:,\d*)?"),
    " ": re.compile(r"[+-]?\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+(?:[.,]\d*)?"),
    "'": re.compile(r"[+-]?\d{1,3}(?:['\u2019]\d{3})+(?:[.,]\d*)?"),
}
_BETWEEN = str.maketrans("", "", " \u00a0\u2009\u202f'\u2019")
#: `mass (kg)`, `mass [kg]`
_HEADER = re.compile(r"(?P<key>.*\S)\s*(?:\[(?P<square>[^\[\]]+)\]|(?<=\s)\((?P<round>[^()]+)\))\s*")
#: Words in the brackets of headers that are no units, and so tell what `min` beside them is.
_STATISTICS = frozenset({"max", "mean", "avg", "average", "median", "total", "sum", "std", "sd"})
#: Digits behind a letter are no power of a unit but minutes: `12h30`.
_CLOCK = re.compile(r"[^\W\d_]\d\d")
#: What astropy raises for texts that are no units, powers by zero and brackets in brackets included.
_NO_UNIT = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
_LONGEST_UNIT = 60
_HUGE_POWER = re.compile(r"\d{5}")
_PLAIN = re.compile(r"[\d.,\s]+")
#: Dots between the factors of a unit, `mPa·s`, which astropy writes as a star.
_FACTORS = str.maketrans(dict.fromkeys("\u00b7\u22c5\u2219", "*"))
#: Units that tables use and astropy writes otherwise.
_OTHER_UNITS = {"°C", "degC", "°F", "degF", "µm", "μm", "1", "dex", "counts", "ppm", "ppb"}
#: Of these, two ways to write one unit.
_SPELLINGS = {"degC": "°C", "degF": "°F", "counts": "count"}

#: How the numbers of a cell are written: `1`, `1.5`, `1,5`, `1,500`, `007`.
Mark = Literal["whole", "dot", "comma", "grouped", "zeros"]


@dataclass(frozen=True)
class Cell:
    """A cell that begins with a number, in its own words."""

    number: str
    limit: str | None = None
    error: str | None = None
    unit: str | None = None

    @property
    def marks(self) -> set[Mark]:
        """The forms in which its numbers are written."""
        return {mark_of(text) for text in (self.number, self.error) if text is not None}


def grouping_of(text: str) -> str | None:
    """Returns what stands between a cell's groups of three digits; None where its digits are in no such groups."""
    plain = text.strip().replace("\N{MINUS SIGN}", "-")
    return next((mark for mark, groups in _GROUPS.items() if groups.fullmatch(plain)), None)


def ungrouped(text: str, thousands: str) -> str:
    """A cell without the marks between its groups of three digits; as it is where its digits are in no such groups."""
    plain = text.strip().replace("\N{MINUS SIGN}", "-")
    if not _GROUPS[thousands].fullmatch(plain):
        return text
    return plain.translate(_BETWEEN) if thousands in " '" else plain.replace(thousands, "")


def read_cell(text: str) -> Cell | None:
    """Parses a cell's number with its limit, error and unit; None if the cell is text."""
    match = _CELL.fullmatch(text.replace("\N{MINUS SIGN}", "-"))
    # Blanks behind a unit are taken off here: a pattern that leaves them out would look at each of them many times.
    unit = None if match is None or match["unit"] is None else match["unit"].rstrip()
    if match is None or (unit is not None and (_CLOCK.search(unit) or not is_unit(unit))):
        return None
    return Cell(match["number"], match["limit"], match["error"], unit)


def mark_of(number: str) -> Mark:
    """Names the form in which a number is written."""
    if _ZERO_LED.match(number):
        return "zeros"
    if _WHOLE.fullmatch(number):
        return "whole"
    if "," not in number:
        return "dot"
    return "grouped" if _GROUPED.fullmatch(number) else "comma"


def split_header(header: str) -> tuple[str, str | None]:
    """`mass (kg)` is `mass` and `kg`; what stands in the brackets must be a unit."""
    match = _HEADER.fullmatch(header)
    if match is not None:
        unit = match["square"] or match["round"]
        if is_unit(unit.strip()):
            return match["key"].strip(), unit.strip()
    return header.strip(), None


def is_statistic(header: str, headers: Sequence[str]) -> bool:
    """Whether `min` in the brackets of a header is the smallest, not minutes: other headers have max or mean there."""
    if _bracketed(header) != "min":
        return False
    return any(_bracketed(other) in _STATISTICS for other in headers)


def _bracketed(header: str) -> str | None:
    """The word in the brackets at the end of a header, in small letters."""
    text = header.strip()
    start = max(text.rfind("("), text.rfind("["))
    return text[start + 1 : -1].strip().lower() if start > 0 and text.endswith((")", "]")) else None


@lru_cache(maxsize=4096)
def is_unit(text: str) -> bool:
    """Whether it is a physical unit, as astropy knows them, or one of a few more."""
    if text in _OTHER_UNITS:
        return True
    if len(text) > _LONGEST_UNIT or _HUGE_POWER.search(text):
        return False  # Which astropy would spend minutes on.
    if _PLAIN.fullmatch(text):
        return False  # `a (2)`: astropy would take it for a factor.
    from astropy import units

    try:
        units.Unit(text.translate(_FACTORS))
    except _NO_UNIT:
        return False
    return True


def same_unit(one: str, other: str) -> bool:
    """Whether two units are one, however they are written: `m/s` and `m s-1`."""
    one, other = (_SPELLINGS.get(unit, unit).translate(_FACTORS) for unit in (one, other))
    if one == other:
        return True
    from astropy import units

    try:
        return bool(units.Unit(one) == units.Unit(other))
    except _NO_UNIT:
        return False
