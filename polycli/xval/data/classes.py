"""Finds the columns of few different texts in the data of a training, and keeps their values with the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from polycli.errors import CheckpointError
from polycli.xval.data.store import RecordStore
from polycli.xval.records.classes import Class, Classes
from polycli.xval.records.decode import decode_records
from polycli.xval.records.keypaths import TOP, child_path, last_key
from polycli.xval.records.values import Value

#: Different values of a column, at most.
MOST_CLASSES = 100
#: Training records that are looked at in each store, spread evenly.
_LOOKED_AT = 16_384
#: How often a value occurs on average, at least: what occurs once is a name.
_FEWEST_EACH = 3
#: Bytes of a class, at most: a longer text is prose.
_LONGEST = 64


def classes_of(stores: Sequence[RecordStore]) -> dict[str, tuple[Class, ...]]:
    """The values of columns that hold few different texts, or true and false, in the training split of some stores.

    Key paths where numbers or lists stand too, and keys that stand under several paths with texts, are left out.
    """
    counts: dict[str, Counter[Class]] = {}
    others: set[str] = {path for store in stores for path in store.key_paths}
    for store in stores:
        rows = store.rows("train")
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(_LOOKED_AT, len(rows))).astype(np.int64))]
        for value in decode_records(store.read(chosen), store.vocabulary):
            for path, item in _items(value, TOP):
                if item is None:
                    others.add(path)
                else:
                    counts.setdefault(path, Counter())[item] += 1
    uses = Counter(last_key(path) for path in counts)
    keys = {key for store in stores for key in store.vocabulary.keys}
    return {
        path: tuple(value for value, _ in found.most_common())
        for path, found in counts.items()
        if path not in others and uses[last_key(path)] == 1 and last_key(path) in keys and _are_classes(found)
    }


def _are_classes(found: Counter[Class]) -> bool:
    if not 1 < len(found) <= MOST_CLASSES or found.total() < _FEWEST_EACH * len(found):
        return False
    return all(isinstance(value, bool) or len(value.encode("utf-8", "surrogatepass")) <= _LONGEST for value in found)


def _items(value: Value, path: str) -> Iterator[tuple[str, Class | None]]:
    """Texts, true and false directly under a key; None at the paths of lists, which are no columns."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            below = child_path(path, key)
            if isinstance(part, str | bool):
                yield below, part
            else:
                yield from _items(part, below)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield path, None
        for part in value:
            yield from _items(part, path)


def read_classes(document: Mapping[str, Any], *, source: str) -> Classes:
    """The section `classes` of a model.json; none where there is no such section, as before it was written.

    Raises:
        CheckpointError: it is no such section.
    """
    found = document.get("classes") or {}
    sound = isinstance(found, dict) and all(
        isinstance(values, list) and all(isinstance(value, str | bool) for value in values) and len(set(values)) > 1
        for values in found.values()
    )
    if not sound:
        raise CheckpointError(f"{source}: its section `classes` is not sound: lists of texts by key path were expected")
    return {str(path): tuple(dict.fromkeys(values)) for path, values in found.items()}
