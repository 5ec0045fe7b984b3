"""The order in which the keys of objects stand: observed in training data, and given to records that have another.

A model that only ever saw `mass` before `radius` answers badly where `radius` comes first, although both say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from polycli.xval.records.keypaths import TOP, child_path
from polycli.xval.records.values import Value

#: By path of an object: its keys in the order in which they stand.
KeyOrder = Mapping[str, tuple[str, ...]]


def observed_order(values: Iterable[Value]) -> dict[str, tuple[str, ...]]:
    """The one order of keys with which all objects at a path agree; paths without such an order are left out.

    >>> observed_order([{"a": 1, "c": {"y": 1, "x": 2}}, {"a": 1, "b": 2, "c": {"x": 1, "y": 2}}])
    {'$': ('a', 'b', 'c')}
    """
    earlier: dict[str, dict[str, dict[str, None]]] = {}
    for value in values:
        _collect(value, TOP, earlier)
    found = {}
    for path, graph in earlier.items():
        try:
            found[path] = tuple(TopologicalSorter(graph).static_order())
        except CycleError:
            continue  # Training saw several orders, so no record can be in a wrong one.
    return found


def in_order(value: Value, order: KeyOrder, path: str = TOP) -> Value:
    """The value with the keys of its objects in this order; keys that it does not have stand behind, as they came.

    >>> in_order({"new": 0, "b": 2, "a": 1}, {"$": ("a", "b")})
    {'a': 1, 'b': 2, 'new': 0}
    """
    if isinstance(value, Mapping):
        index = {key: number for number, key in enumerate(order.get(path, ()))}
        keys = sorted(value, key=lambda key: index.get(key, len(index))) if index else list(value)
        return {key: in_order(value[key], order, child_path(path, key)) for key in keys}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [in_order(part, order, path) for part in value]
    return value


def in_another_order(found: KeyOrder, known: KeyOrder) -> list[str]:
    """The paths of objects whose keys stand in another order in `found` than in `known`.

    >>> in_another_order({"$": ("b", "new", "a")}, {"$": ("a", "b", "c")})
    ['$']
    """
    paths = []
    for path in sorted(set(found) & set(known)):
        shared = set(found[path]) & set(known[path])
        if [key for key in found[path] if key in shared] != [key for key in known[path] if key in shared]:
            paths.append(path)
    return paths


def with_keys(value: Value, keep: Callable[[str, str], bool], path: str = TOP) -> Value:
    """The value without the keys of objects that `keep`, given a key and its path, does not want.

    >>> with_keys({"a": 1, "b": {"c": 2}}, lambda key, path: path != "b.c")
    {'a': 1, 'b': {}}
    """
    if isinstance(value, Mapping):
        below = {key: child_path(path, key) for key in value}
        return {key: with_keys(part, keep, below[key]) for key, part in value.items() if keep(key, below[key])}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [with_keys(part, keep, path) for part in value]
    return value


def as_it_came(value: Value, model: Value) -> Value:
    """The value with the keys of its objects in the order of `model`, which has the same structure; new keys behind."""
    if isinstance(value, Mapping) and isinstance(model, Mapping):
        keys = [*(key for key in model if key in value), *(key for key in value if key not in model)]
        return {key: as_it_came(value[key], model.get(key)) for key in keys}
    if isinstance(value, list) and isinstance(model, Sequence) and not isinstance(model, str):
        return [as_it_came(part, like) for part, like in zip(value, model, strict=True)]
    return value


def _collect(value: Value, path: str, earlier: dict[str, dict[str, dict[str, None]]]) -> None:
    """Note for every key of every object the key right before it."""
    if isinstance(value, Mapping):
        graph = earlier.setdefault(path, {})
        before: str | None = None
        for key, part in value.items():
            graph.setdefault(key, {})
            if before is not None:
                graph[key][before] = None
            before = key
            _collect(part, child_path(path, key), earlier)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            _collect(part, path, earlier)
