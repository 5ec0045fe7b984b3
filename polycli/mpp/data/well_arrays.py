"""Sorts named fields into the scalars, vectors and tensors of The Well's files, by the endings of their names."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

_DIMS = ("x", "y")


@dataclass(frozen=True)
class WellArray:
    """An array of a file: a scalar field (order 0), a vector (1) or a tensor (2)."""

    name: str
    order: int
    #: Its components among the fields of the store, and their whole names.
    places: tuple[int, ...]
    full: tuple[str, ...]
    #: One for all components, or one for each.
    unit: str | tuple[str, ...]


def well_arrays(fields: Sequence[str], units: Sequence[str]) -> list[WellArray]:
    """The arrays that hold all fields, by order: `velocity_x` and `velocity_y` are a vector, four of `D_xx` a tensor.

    >>> [(array.name, array.order) for array in well_arrays(("ns.height", "ns.u_x", "ns.u_y"), ("", "", ""))]
    [('height', 0), ('u', 1)]
    """
    short = [name.partition(".")[2] or name for name in fields]
    if len(set(short)) < len(short):
        # One quantity of two physics: the whole names differ.
        short = [name.replace(".", "_") for name in fields]
    places = {name: place for place, name in enumerate(short)}
    arrays: list[WellArray] = []
    taken: set[str] = set()
    for order in (2, 1):
        suffixes = ["_" + "".join(axes) for axes in itertools.product(_DIMS, repeat=order)]
        for name in short:
            base = name.removesuffix(suffixes[0])
            parts = [f"{base}{suffix}" for suffix in suffixes]
            whole = base != name and base and all(part in places and part not in taken for part in parts)
            # A scalar, vector or tensor of the same name would share its statistics.
            if whole and base not in places and base not in {array.name for array in arrays}:
                taken.update(parts)
                arrays.append(_array(base, order, [places[part] for part in parts], fields, units))
    arrays += [_array(name, 0, [places[name]], fields, units) for name in short if name not in taken]
    return sorted(arrays, key=lambda array: (array.order, array.places))


def _array(name: str, order: int, places: Sequence[int], fields: Sequence[str], units: Sequence[str]) -> WellArray:
    own = tuple(units[place] for place in places)
    return WellArray(
        name=name,
        order=order,
        places=tuple(places),
        full=tuple(fields[place] for place in places),
        unit=own[0] if len(set(own)) == 1 else own,
    )
