"""Chooses one of several tables in a file: the first, which is said, or the one that the recipe names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from polycli.astroclip.data.table_files import nearest_names
from polycli.errors import SourceError


def chosen_part(
    path: Path, wanted: str | int | None, names: Mapping[int, str], *, what: str, key: str
) -> tuple[int, list[str]]:
    """The number of the table to read, and what to say of it.

    Raises:
        SourceError: the one that is wanted is not there.
    """
    if wanted is None:
        first = next(iter(names))
        if len(names) == 1:
            return first, []
        others = ", ".join(_called(number, name) for number, name in names.items() if number != first)
        return first, [f"read from {what} {_called(first, names[first])}; {key} takes another one: {others}"]
    for number, name in names.items():
        if wanted == number or (isinstance(wanted, str) and wanted.strip().lower() == name.strip().lower() != ""):
            return number, []
    known = [name or str(number) for number, name in names.items()]
    raise SourceError(f"{path}: has no {what} {wanted}", hint=nearest_names(str(wanted), known))


def _called(number: int, name: str) -> str:
    return f"{number} ({name})" if name else str(number)
