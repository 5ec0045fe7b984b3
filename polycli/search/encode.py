"""Files that are not among the embeddings, such as a cutout or a coadd, to vectors that are comparable with theirs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.console import counted
from polycli.errors import CheckpointError, SourceError, UserError
from polycli.families import find_family, verb_module
from polycli.requests import EmbedRequest
from polycli.search.scan import Floats
from polycli.search.searcher import SUFFIX, Searcher
from polycli.store.embeddings.manifest import ROWS, vectors_of
from polycli.workflow.embedding.made_with import settings_made_with
from polycli.workflow.embedding.rows import Opened, Rows
from polycli.workflow.pictures import Curve, open_pictures

#: Settings that choose which rows and which vectors were embedded, not how.
_CHOICES = ("split", "limit", "vectors", "numbers")
#: Objects of a file that are read at most, and ids that an error names.
_MOST_OBJECTS = 20_000
_SHOWN_IDS = 3


@dataclass(frozen=True)
class FileObject:
    """An object of a file: its id, and by kind, such as spectrum, its vector."""

    id: str
    vectors: Mapping[str, Floats]
    #: As its family shows it, where it was asked for: (height, width, 3) red, green and blue, and a curve.
    image: NDArray[np.uint8] | None = None
    curve: Curve | None = None


@dataclass(frozen=True)
class FileEncoder:
    """Embeds files as the embeddings were made: with their model and their settings."""

    searcher: Searcher
    checkpoint: Path
    #: Whether a single object that is asked for comes with its pictures.
    with_pictures: bool = False

    def object_of(self, path: Path, wanted: str | None = None) -> FileObject:
        """The only object of a file, or the one with an id.

        Raises:
            UserError: the file has none or several, or nothing that the checkpoint sees; the checkpoint is of another
                model than the embeddings.
        """
        with self._opened(path) as (opened, scratch):
            found = _one_of(path, [found for rows in opened.rows for found in _objects(rows)], wanted)
            return self._shown(found, opened, scratch) if self.with_pictures else found

    def objects(self, path: Path) -> list[FileObject]:
        """All objects of a file, of which there may be 20,000.

        Raises:
            UserError: as `object_of`.
        """
        with self._opened(path) as (opened, _):
            return [found for rows in opened.rows for found in _objects(rows)]

    @contextmanager
    def _opened(self, path: Path) -> Iterator[tuple[Opened[Any], Path]]:
        """The model and the rows of a file, and the folder in which they lie for so long."""
        manifest = self.searcher.manifest
        family = str(manifest.get("family") or "")
        if not family:
            raise UserError(f"{self.searcher.path}: was not made by `embed`, so no file can be embedded like it")
        with tempfile.TemporaryDirectory(prefix="polycli-search-") as scratch:
            # Nothing is written at the output; its ending asks nothing more of the rows, as one for HATS would.
            output = Path(scratch) / "query"
            request = EmbedRequest(checkpoint=self.checkpoint, data=(path,), output=output, limit=_MOST_OBJECTS)
            try:
                opened: Opened[Any] = verb_module(family, "embed").open_files(
                    request, self._settings(family), Path(scratch)
                )
            except SourceError as error:
                raise _without_settings(error, path, family) from error
            refuse_another_model(self.searcher, self.checkpoint, opened.header.provenance.get("model_hash"))
            yield opened, Path(scratch)

    def _shown(self, found: FileObject, opened: Opened[Any], scratch: Path) -> FileObject:
        """The object with its pictures, where its family prepares files as stores, which show themselves."""
        family = str(self.searcher.manifest["family"])
        stores = [Path(name) for name in opened.header.data]
        if find_family(family).pictures is None or not all(store.is_relative_to(scratch) for store in stores):
            return found
        pictures, columns = open_pictures(stores, family=family), {"object_id": found.id}
        return replace(found, image=pictures.image(columns), curve=pictures.curve(columns))

    def _settings(self, family: str) -> Any:  # noqa: ANN401  # The family's own.
        made_with = dict(self.searcher.manifest.get("settings") or {})
        made_with = {name: value for name, value in made_with.items() if name not in _CHOICES}
        return settings_made_with(self.searcher.path, family, made_with)


def refuse_another_model(searcher: Searcher, checkpoint: Path, model_hash: object) -> None:
    """Return if the embeddings are of the model with this hash, which `checkpoint` holds.

    Raises:
        CheckpointError: they are of another one, whose vectors would be compared with theirs in vain.
    """
    made_by = searcher.manifest.get("provenance") or {}
    if made_by.get("model_hash") != model_hash:
        raise CheckpointError(
            f"{checkpoint}: is another model than that of {searcher.path}: {str(model_hash)[:12]}, and "
            f"{str(made_by.get('model_hash'))[:12]} was expected",
            hint=f"the embeddings are of {made_by.get('checkpoint')}",
        )


def _without_settings(error: SourceError, path: Path, family: str) -> SourceError:
    """The same problem of a file, with a way out that there is here: a query takes no settings of reading."""
    if error.hint is None or "--set" not in error.hint:
        return error
    return SourceError(
        error.message,
        hint=f"{error.hint}, with polycli prepare {family} --input {path} --output query.zarr; embed that store, and "
        "look for it with --row QUERY:0, QUERY being its embeddings",
    )


def _one_of(path: Path, objects: list[FileObject], wanted: str | None) -> FileObject:
    """The object with an id, or the only one."""
    if wanted is not None:
        found = [each for each in objects if each.id == wanted]
        if not found:
            raise UserError(f"{path}: holds no object {wanted!r}, but {_shown(objects)}")
        return found[0]
    if len(objects) != 1:
        raise UserError(
            f"{path}: holds {counted(len(objects), 'object', 'objects')}, and one is looked for: {_shown(objects)}",
            hint=f"--object {objects[0].id}" if objects else None,
        )
    return objects[0]


def _objects(rows: Rows[Any]) -> list[FileObject]:
    batches = [rows.take(0, rows.count)] if rows.take is not None and rows.count else list(rows.stream)
    if not batches:
        return []
    table = rows.tables(batches, 0, lambda _: None)[ROWS]
    ids = [str(name) for batch in batches for name in rows.ids(batch)]
    vectors = {name.removesuffix(SUFFIX): _matrix(table, name) for name in vectors_of(table.schema)}
    return [FileObject(name, {kind: found[row] for kind, found in vectors.items()}) for row, name in enumerate(ids)]


def _matrix(table: Any, name: str) -> NDArray[np.float32]:  # noqa: ANN401  # An Arrow table.
    flat = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(len(table), -1)


def _shown(objects: list[FileObject]) -> str:
    ids = ", ".join(each.id for each in objects[:_SHOWN_IDS])
    return ids + (", ..." if len(objects) > _SHOWN_IDS else "") or "none that the checkpoint sees"
