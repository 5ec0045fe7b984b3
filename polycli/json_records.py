"""Typed records as JSON documents: frozen dataclasses whose fields, in their order, are the keys of an object.

Scores, dry runs and provenance are such records, so that a misspelt key or a unit in the wrong place is found by mypy
and not by a reader. Two things that files have and dataclasses have not are said in a field's metadata: `INLINE` is a
mapping or a record whose keys stand among those of the record around it, and `IF_GIVEN` a key that is absent where the
field is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel

#: What a JSON document can hold. Sequences and mappings, because mypy takes a list of floats for one of these.
Json: TypeAlias = "str | float | bool | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = Mapping[str, Json]

INLINE: Mapping[str, str] = {"in_json": "inline"}
IF_GIVEN: Mapping[str, str] = {"in_json": "if given"}

Value = TypeVar("Value")


def to_json(value: object) -> Any:  # noqa: ANN401  # A JSON value is anything.
    """The JSON value of a record, or of mappings and sequences with records in them; pydantic's models are records too.

    Example:
        >>> from dataclasses import dataclass, field
        >>> @dataclass(frozen=True)
        ... class Errors:
        ...     by_method: Mapping[str, float] = field(metadata=INLINE)
        ...     records: int
        ...     coverage: float | None = field(default=None, metadata=IF_GIVEN)
        >>> to_json({"k5": Errors({"model": 0.1, "mean": 0.4}, 12)})
        {'k5': {'model': 0.1, 'mean': 0.4, 'records': 12}}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return dict(_entries(value))
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def to_object(record: object) -> dict[str, Any]:
    """The JSON object of a record or of a mapping.

    Raises:
        TypeError: it is neither.
    """
    document = to_json(record)
    if not isinstance(document, dict):
        raise TypeError(f"{type(record).__name__} is no record and no mapping")
    return document


def finite(value: Value) -> Value:
    """The same with None for numbers that are not finite, which JSON cannot say; records stay records."""
    changed: Any = value
    if isinstance(value, float) and not math.isfinite(value):
        changed = None
    elif is_dataclass(value) and not isinstance(value, type):
        kept = {part.name: finite(getattr(value, part.name)) for part in fields(value) if part.init}
        changed = replace(value, **kept)
    elif isinstance(value, Mapping):
        changed = {key: finite(item) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        changed = [finite(item) for item in value]
    return changed  # type: ignore[no-any-return]


def _entries(record: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  # Any dataclass.
    for part in fields(record):
        value, how = getattr(record, part.name), _how(part)
        if how == "if given" and value is None:
            continue
        if how == "inline":
            yield from to_object(value).items()
        else:
            yield part.name, to_json(value)


def _how(part: Field[Any]) -> str | None:
    how: str | None = part.metadata.get("in_json")
    return how
