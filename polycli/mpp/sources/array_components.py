"""Fields that are one component of an array of vectors: `velocity:0` is the first entry of its axis `field`."""

from __future__ import annotations

import re
from collections.abc import Collection

_COMPONENT = re.compile(r"(.+):(\d+)")


def component_of(name: str, arrays: Collection[str]) -> tuple[str, int | None]:
    """The array that a name means, and which entry of its axis `field`; None where it means the whole array."""
    match = None if name in arrays else _COMPONENT.fullmatch(name)
    return (name, None) if match is None else (match[1], int(match[2]))


def plain_name(name: str) -> str:
    """The name of an array without the component behind it."""
    return component_of(name, ())[0]
