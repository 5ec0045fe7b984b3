"""Checks where the results of a command go: which names, what may stand there, and what may be replaced.

All verbs write through here, and so do stores of embeddings and reports, which is why this lies below them. What is
replaced is only what polycli wrote itself, of the same kind, and never anything that the command reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from polycli.errors import UserError
from polycli.paths import refuse_unwritable
from polycli.publishing import clear_up, holding, publish

#: A folder with one of these is a store or another zarr, of which nothing else may become a part.
_ZARR_FILES = ("MANIFEST.json", "zarr.json", ".zgroup", ".zarray")


@dataclass(frozen=True)
class OutputKind:
    """Something that polycli writes for users."""

    #: What sentences call it, in the plural.
    what: str
    #: Endings of names that say the format; an empty one is a folder.
    suffixes: tuple[str, ...]
    #: Whether a path holds such a thing, by its content.
    recognises: Callable[[Path], bool]
    #: What asks for the replacement of what is there.
    ask: str = "--set overwrite=true"
    #: Names of the entries of a folder, where those of zarr and Parquet are not all.
    parts: tuple[str, ...] = ()

    @property
    def formats(self) -> str:
        """The endings as part of a sentence."""
        words = [suffix or "none for a folder" for suffix in self.suffixes]
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


@dataclass(frozen=True)
class Output:
    """The destination of a command's result."""

    path: Path
    kind: OutputKind
    #: Whether one of the same kind may be replaced.
    overwrite: bool = False
    #: What the command reads.
    inputs: tuple[Path, ...] = ()

    def refuse(self) -> None:
        """Raise, before any work is done, where the result could not or must not come; first clear up there.

        Raises:
            UserError: the name, the place, what stands there or who writes there is against it.
        """
        path, kind = self.path, self.kind
        if not path.name:
            raise UserError(f"{path}: names no place for {kind.what}", hint="give another --output")
        if path.suffix not in kind.suffixes:
            named = next(suffix for suffix in kind.suffixes if suffix)
            raise UserError(
                f"{path}: the suffix says the format: {kind.formats}", hint=f"--output {path.with_suffix(named)}"
            )
        refuse_inputs(path, self.inputs)
        refuse_unwritable(path.parent, what=kind.what)
        clear_up(path)
        self.refuse_what_is_there()

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A path to write the result to, a file or a folder, which becomes the target when the block ends well.

        Where it raises, what stood at the target stands there again and nothing else is left.

        Raises:
            UserError: another process writes there, or something has come to stand there.
            PolycliError: the disk is full or refuses a write.
        """
        with holding(self.path, what=self.kind.what) as work:
            self.refuse_what_is_there()
            new = work / "new" / self.path.name
            new.parent.mkdir()
            yield new
            self.refuse_what_is_there()
            publish(new, self.path, work)

    def refuse_what_is_there(self) -> None:
        """Raise where something stands that may not be replaced.

        Raises:
            UserError: something does, and `overwrite` is not set, or it is nothing of the kind that polycli wrote.
        """
        path, kind = self.path, self.kind
        if not os.path.lexists(path):
            return
        if not self.overwrite:
            raise UserError(f"{path}: exists already", hint=f"give another --output, or {kind.ask}")
        if not kind.recognises(path):
            raise UserError(
                f"{path}: is not replaced, for it is not {kind.what} that polycli wrote",
                hint="give another --output, or move it away yourself",
            )
        foreign = (
            [entry.name for entry in path.iterdir() if entry.name not in kind.parts and not _is_part(entry)]
            if path.is_dir()
            else []
        )
        if foreign:
            raise UserError(
                f"{path}: is not replaced, for it also holds {foreign[0]}, which polycli did not write",
                hint="move that away, or give another --output",
            )


def refuse_inputs(target: Path, inputs: Iterable[Path]) -> None:
    """Return if `target` is none of the `inputs`, holds none of them, and lies in no store among them.

    Raises:
        UserError: it would destroy what the command reads.
    """
    place = target.resolve()
    for path in inputs:
        read = path.resolve()
        if place == read:
            raise UserError(f"{target}: is read by this command, and would be lost", hint="give another --output")
        if place in read.parents:
            raise UserError(f"{target}: holds {path}, which this command reads", hint="give another --output")
        if read in place.parents and is_zarr(read):
            raise UserError(f"{target}: lies in {path}, a store that this command reads", hint="give another --output")


def _is_part(entry: Path) -> bool:
    """Whether something in a folder of polycli's is part of what it writes there: zarr, Parquet or a manifest."""
    if entry.is_dir():
        # `_TABLE/` of embeddings holds a further table.
        return entry.name == "c" or entry.name.startswith("_") or is_zarr(entry)
    return entry.suffix == ".parquet" or entry.name in (*_ZARR_FILES, "_MANIFEST.json")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a store, or a zarr of any kind."""
    return any((path / name).is_file() for name in _ZARR_FILES)
