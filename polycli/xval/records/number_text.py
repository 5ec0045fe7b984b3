r"""Finds the numbers in free text: what a reader of the field would call a number, and nothing that only has digits.

Read as numbers: `3`, `-.5`, `.5`, `1e10`, `2.5E-3`, the minus sign U+2212, numbers with a unit behind (`5kg`). A plus
before a number stays text before it.
Stay text, digit by digit: words (`H2O`, `v1.5`, `COVID-19`), dates and times, versions (`1.5.2`), ordinals, names that
begin with a digit (`3C273`), quoted numbers, digits in groups (`1,000`, which half of the world reads otherwise),
identifiers with leading zeros (`007`), clock times and angles (`12h34m56.7s`), and what float64 cannot hold. A full
stop behind a number stays text, so that no sentence loses its end.

As in the paper's form, a minus between two numbers is the sign of the second: `3-2` is 3 and -2.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_DATE = r"\d{4}-\d{1,2}-\d{1,2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)?(?:Z\b|[-+]\d{2}:?\d{2}\b)?"
_SLASHED = r"\d{1,4}/\d{1,2}/\d{1,4}"
_TIME = r"\d+(?::\d+)+(?:\.\d+)?"
_VERSION = r"\d+(?:\.\d+){2,}"
# In a longer row of numbers, or right before a bracket that closes one, a comma separates; alone it may group digits,
# or not. No number begins with two zeros, so `1,000` is a group in any case.
_GROUPED = r"(?<!,)\d{1,3}(?:(?:,\d{3})+(?![\d\]),])|(?:,\d{3})*,0\d{2}(?:,\d{3})*(?!\d))(?:\.\d+)?"
_CLOCK = r"[-+\u2212]?\d+(?:\.\d+)?[hd]\d+(?:\.\d+)?(?:m(?:\d+(?:\.\d+)?s?)?)?(?!\w)"
#: Identifiers; `0.5` and `05.5e3` are numbers.
_ZEROS = r"0\d+(?![\d.]|[eE][-+]?\d)"
_WORD = r"[^\W\d]\w*(?:[-.]\w+)*"
_MANTISSA = r"(?:\d+(?:\.\d+)?|\.\d+)"
#: The exponent may follow a bare point: `5.e3`.
_NUMBER = (
    rf"(?<!['\"])(?>[-\u2212]?{_MANTISSA}(?:\.?(?:[eE][-+]?|[dD][-+])\d+)?)(?!['\"]|[^\W\d]*[\d_]|(?:st|nd|rd|th)\b)"
)
_OTHER = r"[-\u2212]?[\d.]*\d\w*"
#: A row of dots is passed over as a whole: begun anew at each of its dots, the search would take time with its square.
_DOTS = r"\.+"
_SCANNER = re.compile(
    rf"(?P<text>{_DATE}|{_SLASHED}|{_TIME}|{_VERSION}|{_GROUPED}|{_CLOCK}|{_ZEROS}|{_WORD})|(?P<number>{_NUMBER})"
    rf"|(?P<other>{_OTHER}|{_DOTS})"
)
_INTEGER = re.compile(r"-?\d+")
_NOT_ZERO = re.compile(r"[1-9]")


@dataclass(frozen=True)
class NumberSpan:
    """One number in a text; an `int` where it was written as one."""

    start: int
    stop: int
    value: float


def find_numbers(text: str) -> list[NumberSpan]:
    """The numbers in a text, in order."""
    found = []
    for match in _SCANNER.finditer(text):
        if match.lastgroup == "number":
            value = number_value(match.group())
            if value is not None:
                found.append(NumberSpan(match.start(), match.end(), value))
    return found


def split_text(text: str) -> list[str | float]:
    """The text as pieces: texts and numbers in turn, as they come; together they are the whole of it."""
    pieces: list[str | float] = []
    end = 0
    for span in find_numbers(text):
        if span.start > end:
            pieces.append(text[end : span.start])
        pieces.append(span.value)
        end = span.stop
    if end < len(text):
        pieces.append(text[end:])
    return pieces


def number_value(literal: str) -> float | None:
    """Reads a number as float64, or as `int` where it was written as one; None where float64 cannot hold it."""
    plain = literal.replace("\N{MINUS SIGN}", "-").replace("d", "e").replace("D", "e")
    value = float(plain)
    if not math.isfinite(value):
        return None
    if _INTEGER.fullmatch(plain):
        # Compared as integers: what float64 rounds would come back as another number.
        return int(plain) if len(plain) < 310 and int(value) == int(plain) else None
    if value == 0 and _NOT_ZERO.search(re.split("[eE]", plain)[0]):
        return None
    return value
