"""Keys and units of columns that have types of their own, from their headers and from what the file says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polycli.errors import SourceError
from polycli.xval.recipe.sources import TableSection
from polycli.xval.records.cells import is_statistic, split_header
from polycli.xval.records.keypaths import TOP, child_path


@dataclass(frozen=True)
class KeysOfHeaders:
    """The keys of columns, by header in their order; units by key path, and what is worth saying."""

    keys: tuple[tuple[str, str], ...]
    units: Mapping[str, str]
    remarks: tuple[str, ...] = ()
    #: Whether a number stands anywhere.
    has_numbers: bool = True


def keys_of(
    source: str, headers: Sequence[str], section: TableSection, stated: Mapping[str, str] | None = None
) -> KeysOfHeaders:
    """The keys of the columns but for that of ids; `stated` has units that stand beside the headers.

    Raises:
        SourceError: two columns have one name, or the recipe names a column that is not there.
    """
    twice = [header for header, count in Counter(headers).items() if count > 1]
    if twice:
        raise SourceError(
            f"{source}: {Counter(headers)[twice[0]]} columns are named {twice[0]!r}, of which one alone could be kept",
            hint="give each column its own name in the program that wrote the file",
        )
    for name in (*section.columns, *([section.id_column] if section.id_column is not None else [])):
        if name not in headers:
            raise SourceError(f"{source}: there is no column {name!r}", hint=f"it has {', '.join(headers)}")
    wanted = [header for header in headers if header != section.id_column]
    names = {
        header: split_header(header) if section.units and not is_statistic(header, wanted) else (header, None)
        for header in wanted
    }
    used = Counter(key for key, _ in names.values())
    keys = {header: key if used[key] == 1 else header for header, (key, _) in names.items()}
    units, remarks = {}, []
    for header, (_, own) in names.items():
        beside = (stated or {}).get(header)
        if own is None and beside:
            remarks.append(f"{source}: column {header!r} is in {beside}, as the file says beside it")
        if own or beside:
            units[child_path(TOP, keys[header])] = str(own or beside)
    if section.columns:
        remarks.append(
            f"{source}: its columns have types of their own, so table.columns changes nothing; text_keys makes "
            "numbers text"
        )
    return KeysOfHeaders(tuple(keys.items()), units, tuple(remarks))
