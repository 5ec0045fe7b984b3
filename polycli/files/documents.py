"""JSON documents from anybody: of a bounded size and depth, without NaN, and a sentence for what is wrong in them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from polycli.errors import UserError
from polycli.files.plain import read_bytes, reason_of

#: Bytes of a document that is read as a whole: a manifest of a million files, a list of ten million rows.
LARGEST_DOCUMENT = 512 * 2**20


def parse_json(data: bytes | str) -> Any:  # noqa: ANN401  # A JSON value is anything.
    """The value of a JSON document.

    Raises:
        ValueError: it is not JSON, holds NaN or infinities, is nested some 200 deep, or has thousands of digits.
    """
    value = from_json(data, allow_inf_nan=False)
    _check_finite(value)
    return value


def _check_finite(value: object) -> None:
    """Refuse numbers such as 1e999, which the parser takes for infinities whatever it is told of those."""
    pending = [value]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            pending.extend(found.values())
        elif isinstance(found, list):
            pending.extend(found)
        elif isinstance(found, float) and not math.isfinite(found):
            raise ValueError("it has a number beyond 1.8e308")


def read_json(path: Path, failing: type[UserError], *, what: str, hint: str | None = None) -> Any:  # noqa: ANN401
    """The JSON document in a file.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: of the class `failing`, which names the file and `what` it should be: it cannot be read.
    """
    try:
        return parse_json(read_bytes(path, LARGEST_DOCUMENT))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise failing(f"{path}: {what} cannot be read: {reason_of(error)}", hint=hint) from error


def read_object(path: Path, failing: type[UserError], *, what: str) -> dict[str, Any]:
    """The JSON object in a file; errors as `read_json`, also where the document is no object."""
    document = read_json(path, failing, what=what)
    if not isinstance(document, dict):
        raise failing(f"{path}: {what} is a {type(document).__name__}, an object was expected")
    return document
