"""Looks up what stands at a key path of one record: its name, say, or its group."""

from __future__ import annotations

from collections.abc import Mapping

from polycli.xval.records.keypaths import TOP, child_path
from polycli.xval.records.values import FreeText, NumberLiteral, Value


def text_at(value: Value, path: str) -> str | None:
    """The value at a key path as text; None where there is none, or null. Lists are not looked into."""
    found = value_at(value, path)
    if found is None:
        return None
    return found.text if isinstance(found, FreeText | NumberLiteral) else str(found)


def value_at(value: Value, path: str) -> Value:
    """The value at a key path; None where there is none. Lists are not looked into."""
    return _at(value, path, TOP)


def _at(value: Value, wanted: str, path: str) -> Value:
    if path == wanted:
        return value
    if isinstance(value, Mapping):
        for key, member in value.items():
            below = child_path(path, key)
            if wanted == below or wanted.startswith(f"{below}."):
                return _at(member, wanted, below)
    return None
