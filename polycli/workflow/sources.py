"""The protocol of sources, which read a user's data into stores, and the search for those of a family.

A source stands in the table of its family, one line each, or in an installed package, by an entry point in the group
`polycli.sources.FAMILY`. `prepare --source NAME` takes it by name; `predict` finds it by looking at the files.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from polycli.errors import SourceError, UserError
from polycli.families import find_family
from polycli.paths import files_below
from polycli.plugins import load_plugin, plugin_names
from polycli.references import resolve

Recipe_contra = TypeVar("Recipe_contra", contravariant=True)
Opened_co = TypeVar("Opened_co", covariant=True)
#: Before the name of the family: the group of entry points by which an installed package brings a source.
ENTRY_POINTS = "polycli.sources."


@runtime_checkable
class Source(Protocol[Recipe_contra, Opened_co]):
    """A kind of input. It looks into files; their names and folders decide as little as they can.

    What `open` returns is the family's own: what there is, cut into pieces that worker processes can read.
    """

    def accepts(self, path: Path) -> bool:
        """Whether a file or folder is of this kind, by a look at it; a source that reads no files says no."""
        ...

    def open(self, inputs: Sequence[Path], recipe: Recipe_contra, limit: int | None) -> Opened_co:
        """Look at the inputs, without reading all of them. `limit` keeps at most that many rows of each dataset.

        Raises:
            SourceError: an input is missing, damaged or not of this kind, or files were given and none are read.
        """
        ...


def source_names(family: str) -> tuple[str, ...]:
    """Lists the names for `--source` of this family: its own sources first, then those of installed packages."""
    shipped = find_family(family).sources
    return (*shipped, *plugin_names(ENTRY_POINTS + family, shipped))


def load_source(family: str, name: str) -> Source[Any, Any]:
    """The source that `--source` names.

    Raises:
        UserError: there is none of that name, or the package that brings it cannot be used.
    """
    shipped = find_family(family).sources
    group = ENTRY_POINTS + family
    kind = resolve(shipped[name]) if name in shipped else load_plugin(group, shipped, name, what="the source")
    if kind is None:
        names = source_names(family)
        near = difflib.get_close_matches(name, names, n=1)
        suggestion = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"--source {name}: {family} has no such source{suggestion}", hint=f"it has {', '.join(names)}")
    source = kind() if isinstance(kind, type) else kind
    if not isinstance(source, Source):
        raise UserError(f"the entry point {name} in {group} is to name a source, which has `accepts` and `open`")
    return source


def find_source(family: str, paths: Sequence[Path]) -> str:
    """The name of the one source that reads these paths: of each file the first that accepts it.

    In a folder, files that no source accepts do not count.

    Raises:
        SourceError: no source reads a path, or different ones would read different files.
    """
    sources = {name: load_source(family, name) for name in source_names(family)}
    readers: dict[str, Path] = {}
    for path in paths:
        found = _readers(path, sources)
        if not found:
            raise SourceError(
                f"{path}: neither a store nor anything that a source of {family} reads",
                hint=f"the sources are {', '.join(sources)}; --set source=NAME names one",
            )
        for name, file in found.items():
            readers.setdefault(name, file)
    if len(readers) > 1:
        (one, first), (other, second) = list(readers.items())[:2]
        raise SourceError(
            f"inputs of different kinds: {first} is for the source {one}, {second} for {other}",
            hint=f"give them to two commands, or say what all are: --set source={one}",
        )
    return next(iter(readers))


def _readers(path: Path, sources: Mapping[str, Source[Any, Any]]) -> dict[str, Path]:
    """Maps the name of each source that reads a path, or files in it, to the first file that it reads."""
    found: dict[str, Path] = {}
    whole = next((name for name, source in sources.items() if source.accepts(path)), None)
    if whole is not None:
        return {whole: path}
    for file in files_below(path) if path.is_dir() else ():
        name = next((name for name, source in sources.items() if source.accepts(file)), None)
        if name is not None:
            found.setdefault(name, file)
    return found
