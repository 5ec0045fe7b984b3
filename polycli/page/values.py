"""Turns values of tables into what JSON holds and JavaScript reads without a loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

#: JavaScript's numbers are float64: integers beyond this change, as those of DESI's ids would.
SAFE_INTEGER = 2**53 - 1


def plain(value: Any) -> Any:  # noqa: ANN401  # Whatever a table holds.
    """The value as JSON: large integers as text, so that no digit is lost, and null for what is not finite.

    >>> plain({"id": 39633297352951412, "z": float("nan"), "n": 3})
    {'id': '39633297352951412', 'z': None, 'n': 3}
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, int):
        return value if abs(value) <= SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    item = getattr(value, "item", None)
    return plain(item()) if callable(item) else str(value)
