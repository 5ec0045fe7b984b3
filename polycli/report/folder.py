"""The folder of an evaluation: written beside its place, and moved there part by part when all of it is whole."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polycli.paths import remove, replace
from polycli.requests import JsonDocument

SCORES_NAME = "scores.json"
#: What an evaluation may leave. scores.json comes last: who finds a new one finds what belongs to it.
_PARTS = ("figures", "report.html", SCORES_NAME)


@contextmanager
def evaluation_folder(output: Path, *, parts: Sequence[str] = ()) -> Iterator[Path]:
    """A folder to write into, whose `parts`, figures, report.html and scores.json then replace those of `output`.

    What an earlier evaluation left there and this one does not have is deleted: it would not fit the new scores. Where
    the block raises, `output` stays as it was.
    """
    unfinished = output.with_name(f".{output.name}.partial-{os.getpid()}")
    remove(unfinished)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        output.mkdir(exist_ok=True)
        for part in (*parts, *_PARTS):
            if (unfinished / part).exists():
                replace(unfinished / part, output / part)
            else:
                remove(output / part)
    finally:
        remove(unfinished)


def write_scores(scores: JsonDocument, folder: Path) -> None:
    """scores.json; NaN and infinities are not JSON and must have become null before."""
    (folder / SCORES_NAME).write_text(json.dumps(scores, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def finite_json(value: Any) -> Any:  # noqa: ANN401  # A JSON value is anything.
    """The same with null for what is not finite, which JSON cannot say."""
    if isinstance(value, Mapping):
        return {key: finite_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
