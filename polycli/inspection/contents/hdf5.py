"""HDF5 files: the tree of their arrays, with shapes, types, packing and units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from polycli.console import counted
from polycli.files.hdf5 import DAMAGE, MOST_OBJECTS, unreadable
from polycli.inspection.contents.listing import LISTED, listing
from polycli.inspection.finding import FORECAST, Finding, byte_size, describe

#: Attributes by which writers say a unit.
_UNITS = ("units", "unit", "UNITS", "UNIT")


def describe_hdf5(path: Path, by_families: Callable[[Path], dict[str, object]]) -> Finding:
    """Lists the groups and arrays of a file; `by_families` gives the facts of those that can prepare it.

    Raises:
        SourceError: it cannot be opened.
    """
    arrays: dict[str, str] = {}
    below: Counter[str] = Counter()
    try:
        with h5py.File(path, "r", locking=False) as file:
            attributes = list(file.attrs)
            groups = list(file)
            forecast = is_forecast(file)

            def note(name: str, node: object) -> bool | None:
                if isinstance(node, h5py.Dataset):
                    arrays[name] = _described(node)
                elif isinstance(node, h5py.Group):
                    below.update(list(node.attrs))
                return True if len(arrays) > MOST_OBJECTS else None

            file.visititems(note)
    except DAMAGE as error:
        raise unreadable(path, error, "an HDF5 file that cannot be opened, truncated perhaps") from error
    facts: dict[str, object] = {
        "size": byte_size(path.stat().st_size),
        **({} if forecast else by_families(path)),
        "groups": len(groups),
        "attributes": attributes,
        "attributes of groups": [
            f"{name}, in {counted(count, 'group', 'groups')}" for name, count in sorted(below.items())[:LISTED]
        ],
    }
    kind = "forecasts, an HDF5 file" if forecast else "an HDF5 file"
    whole = {"kind": kind, "path": str(path), **facts, "datasets": [f"{n} {about}" for n, about in arrays.items()]}
    finding = describe(path, kind, facts, {name: value for name, value in whole.items() if value not in ("", None)})
    return listing(finding, "arrays", arrays, most=LISTED)


def is_forecast(file: h5py.File) -> bool:
    """Whether `predict` wrote the file: a link leads anywhere, also to itself, so hard links alone are followed."""
    nodes = [file.get(name) for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
    groups = [node for node in nodes if isinstance(node, h5py.Group)]
    return bool(file.attrs.get("format") == FORECAST or any(group.attrs.get("format") == FORECAST for group in groups))


def _described(node: Any) -> str:  # noqa: ANN401  # h5py has no types.
    packed = f" {node.compression}" if node.compression else ""
    unit = next((text for name in _UNITS if (text := _text(node.attrs.get(name)))), "")
    return f"{' x '.join(map(str, node.shape or ())) or 'scalar'} {node.dtype}{packed}{f' [{unit}]' if unit else ''}"


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""
