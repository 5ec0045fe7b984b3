"""Writes what a key of a recipe takes, and its default, in words for help: `whole number > 0`, `[g, r, z]`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

_BOUNDS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
_WORDS: dict[object, str] = {bool: "true | false", int: "whole number", float: "number", str: "text", NoneType: "null"}
#: Beyond it a bound is written with all its digits.
_LONG = 1e6


def written(default: object) -> str | None:
    """A default as it would stand after `=`; None where there is none.

    >>> written(("g", "r", "z"))
    '[g, r, z]'
    """
    if default is PydanticUndefined:
        return None
    if isinstance(default, BaseModel):
        default = default.model_dump(mode="json")
    if isinstance(default, tuple | list):
        return f"[{', '.join(written(item) or '' for item in default)}]"
    if isinstance(default, Mapping):
        return f"{{{', '.join(f'{key}: {written(item)}' for key, item in default.items())}}}"
    if isinstance(default, str) and default.strip():
        return default
    return f"{default:.12g}" if isinstance(default, float) else json.dumps(default, default=str)


def kind_of(annotation: Any, metadata: Sequence[object] = ()) -> str:  # noqa: ANN401  # Annotations are anything.
    """Says which values a type takes.

    >>> kind_of(tuple[int, ...])
    'list of whole number'
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind_of(arguments[0], [*_flat(arguments[1:]), *metadata])
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, UnionType):
        kinds = dict.fromkeys(kind_of(argument, metadata) for argument in arguments if argument is not NoneType)
        return " or ".join([*kinds, *([_WORDS[NoneType]] if NoneType in arguments else [])])
    if origin in (dict, Mapping):
        return f"{{NAME: {kind_of(arguments[1])}}}"
    if origin in (tuple, list):
        return _list_of(arguments)
    return _WORDS.get(annotation, "any value") + _bounds(metadata)


def _list_of(arguments: Sequence[Any]) -> str:
    if Ellipsis not in arguments and len(arguments) > 1:
        return f"[{', '.join(kind_of(argument) for argument in arguments)}]"
    inner = kind_of(arguments[0])
    return f"list of ({inner})" if " | " in inner or " or " in inner else f"list of {inner}"


def _flat(metadata: Sequence[object]) -> list[object]:
    return [item for entry in metadata for item in (entry.metadata if isinstance(entry, FieldInfo) else [entry])]


def _bounds(metadata: Sequence[object]) -> str:
    found = [
        f" {sign} {bound:g}" if isinstance(bound, int | float) and abs(bound) < _LONG else f" {sign} {bound}"
        for name, sign in _BOUNDS
        for item in metadata
        if (bound := getattr(item, name, None)) is not None
    ]
    return ",".join(dict.fromkeys(found))
