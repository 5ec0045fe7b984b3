"""Builds stores of many small rows (records, objects), which are staged in blocks and published in one stream.

    TARGET.partial-<fingerprint>/
        blocks/<name of key>/   one finished block, moved here by one rename: <column>.npy, block.json
        writing/                blocks that are being written; what a killed process left is of no use
        store/                  the tree that becomes TARGET

Blocks are cut from the sources at fixed sizes, so that they do not depend on how many processes stage them; different
processes may stage different ones at the same time. Nothing here knows a family.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli import __version__
from polycli.errors import StoreError
from polycli.requests import JsonDocument, Split
from polycli.store.block_files import Block, read_block, write_block
from polycli.store.building import BuildPlace, hash_others, write_group, write_whole
from polycli.store.column_writer import write_column
from polycli.store.columns import Column, ColumnSpec, Ragged, offsets_of
from polycli.store.hashing import row_hashes
from polycli.store.layout import ArrayLayout
from polycli.store.manifest import SPLITS, ArrayInfo, LeftOut, Manifest, SourceFile
from polycli.store.staged_rows import ROW_HASH, ROW_ID, StagedRows
from polycli.store.staging import sync_folder, write_error

__all__ = ["BlockBuilder", "Column", "ColumnSpec", "Ragged", "StagedRows"]

_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_OWN_ARRAYS = frozenset({ROW_ID, ROW_HASH, "split"})
_NUMBERS = "biuf"


class BlockBuilder:
    """Stages blocks of rows in `TARGET.partial-<fingerprint>` and publishes them as `TARGET`.

    The same fingerprint goes on where a killed build was. Instances hold no open files and can be pickled; processes
    that stage should be spawned, not forked, because tensorstore's threads do not survive a fork.
    """

    def __init__(self, target: Path, *, fingerprint: str) -> None:
        """Prepare to build `target`.

        Raises:
            StoreError: something else than this build's own result stands at `target`.
        """
        self._place = BuildPlace(target.absolute(), fingerprint)
        self.target = self._place.target
        self.work = self._place.work
        self._place.refuse_other_target()

    def record(self, key: str) -> JsonDocument | None:
        """Returns the record given to `stage` for this block, in this or an earlier process; None if it is not
        finished.
        """
        block = read_block(self._folder(key))
        return None if block is None else block.record

    def stage(
        self,
        key: str,
        columns: Mapping[str, Column],
        record: JsonDocument,
        *,
        ids: Sequence[str] | Ragged,
        content: Sequence[str],
        source: str = "",
        hashed: Mapping[str, Column] | None = None,
    ) -> None:
        """Write one block so that it is there whole or not at all, and lasts. A block that is there stays as it is.

        `ids` name the rows, `content` the columns whose bytes make the rows' hashes, `source` where the rows come
        from. A block of which no row is left has no columns, ids or content. `hashed` has, for columns that are staged
        in a form that differs between blocks, the form whose bytes are hashed.

        Raises:
            PolycliError: the disk is full or refuses the write; finished blocks are kept.
            ValueError: columns differ in length, or have names or types that no store can hold.
        """
        _check_columns(key, columns, len(ids))
        folder = self._folder(key)
        writing = self.work / "writing" / f"{folder.name}.{uuid.uuid4().hex}"
        whole = dict(columns)
        if len(ids):
            whole[ROW_ID] = ids if isinstance(ids, Ragged) else Ragged.of_strings(ids)
            whole[ROW_HASH] = row_hashes([{**columns, **(hashed or {})}[name] for name in content])
        try:
            write_block(writing, key, whole, rows=len(ids), source=source, record=record)
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                writing.rename(folder)
            except OSError as error:
                # Another process has finished the same block, which is of the same rows.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            sync_folder(folder.parent)
        except OSError as error:
            raise write_error(self.target, error) from error
        finally:
            shutil.rmtree(writing, ignore_errors=True)

    def read(self, key: str, *names: str) -> dict[str, Column]:
        """The named columns of a finished block, or all of them, memory-mapped.

        Raises:
            StoreError: the block is not staged, or has no such column.
        """
        block = self._block(key)
        return {name: block.column(name) for name in names or block.names}

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Returns those of the keys whose blocks are not finished."""
        return [key for key in keys if self.record(key) is None]

    def rows(
        self,
        keys: Sequence[str],
        *,
        keep: Mapping[str, NDArray[np.bool_]] | None = None,
        drop_duplicates: bool = True,
        ids_tell: bool = False,
    ) -> StagedRows:
        """The rows of these blocks, in this order, less those that `keep` masks and those equal to an earlier row.

        With `ids_tell`, rows of equal content and different ids are both kept.

        Raises:
            StoreError: a block is not staged.
        """
        blocks = {key: self._block(key) for key in keys}
        return StagedRows.of(blocks, keep or {}, drop_duplicates=drop_duplicates, ids_tell=ids_tell)

    def publish(
        self,
        rows: StagedRows,
        columns: Mapping[str, ColumnSpec],
        *,
        family: str,
        name: str,
        splits: Sequence[Split],
        split_rule: str,
        row_ids_given: bool = False,
        statistics: Mapping[str, Mapping[str, Mapping[str, float]]],
        row_axis: str = "row",
        arrays: Mapping[str, NDArray[Any]] | None = None,
        dims: Mapping[str, Sequence[str]] | None = None,
        sources: Sequence[SourceFile] = (),
        rejected: Sequence[LeftOut] = (),
        flagged: Sequence[LeftOut] = (),
        about: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Path:
        """Stream the named columns of the rows into a store and rename it to the target; returns the target.

        `arrays` are small whole arrays that are not by row, `dims` their axis names. Killed at any instant, the target
        is absent or whole, and a second call starts again from the staged blocks.

        Raises:
            StoreError: another store stands at the target, there are no rows, blocks differ in type or shape, or a
                staged file was altered.
            PolycliError: the disk is full, or what was written does not read back.
        """
        if self._place.is_done():
            self._place.clear()
            return self.target
        self._place.refuse_other_target()
        if not len(rows):
            raise StoreError("there are no rows to publish", hint="see what was rejected, and why")
        if len(splits) != len(rows):
            raise ValueError(f"{len(rows)} rows and {len(splits)} splits")
        tree = self._place.tree
        with self._place.publishing():
            shutil.rmtree(tree, ignore_errors=True)
            tree.mkdir()
            infos: dict[str, ArrayInfo] = {}
            for label, spec in {**columns, ROW_ID: ColumnSpec(), ROW_HASH: ColumnSpec(("byte",))}.items():
                infos.update(_write(tree, rows, label, spec, row_axis))
            places: dict[Split, int] = {split: place for place, split in enumerate(SPLITS)}
            codes = np.fromiter(map(places.__getitem__, splits), dtype=np.uint8, count=len(splits))
            whole = {"split": codes, **(arrays or {})}
            names = {"split": [row_axis], **(dims or {})}
            for label, values in whole.items():
                infos[label] = write_whole(tree, label, values, names.get(label))
            write_group(tree)
            manifest = Manifest(
                family=family,
                name=name,
                version=__version__,
                fingerprint=self._place.fingerprint,
                rows=len(rows),
                row_ids=(),
                row_hashes=(),
                row_splits=(),
                row_ids_given=row_ids_given,
                splits={split: int((codes == code).sum()) for code, split in enumerate(SPLITS)},
                split_rule=split_rule,
                arrays=infos,
                statistics={a: {f: dict(s) for f, s in fields.items()} for a, fields in statistics.items()},
                sources=tuple(sources),
                rejected=tuple(rejected),
                flagged=tuple(flagged),
                about=dict(about or {}),
                options=dict(options or {}),
                files=dict(sorted(hash_others(tree, {}).items())),
            )
            self._place.seal(manifest)
        self._place.clear()
        return self.target

    def _folder(self, key: str) -> Path:
        return self.work / "blocks" / hashlib.sha256(key.encode()).hexdigest()[:32]

    def _block(self, key: str) -> Block:
        block = read_block(self._folder(key))
        if block is None:
            raise StoreError(f"{self.work}: block {key!r} is not staged", hint="run the same prepare line again")
        return block


def _check_columns(key: str, columns: Mapping[str, Column], rows: int) -> None:
    offsets = {f"{name}_offsets" for name, column in columns.items() if isinstance(column, Ragged)}
    for name, column in columns.items():
        if not _PLAIN_NAME.fullmatch(name) or name in _OWN_ARRAYS | offsets:
            raise ValueError(f"block {key!r}: {name!r} cannot name a column")
        values = column.values if isinstance(column, Ragged) else column
        if values.dtype.kind not in _NUMBERS:
            raise ValueError(
                f"block {key!r}: column {name!r} is {values.dtype}; texts are stored with Ragged.of_strings"
            )
        if len(column) != rows:
            raise ValueError(f"block {key!r}: column {name!r} has {len(column)} rows, there are {rows} ids")


def _write(tree: Path, rows: StagedRows, label: str, spec: ColumnSpec, row_axis: str) -> dict[str, ArrayInfo]:
    """Stream one column to its array, or two where its rows differ in length."""
    (first,) = next(rows.blocks(label)).values()
    # A staged column is memory-mapped, one that a mask has cut is not: both are dense all the same.
    ragged, dtype, rest = isinstance(first, Ragged), _values(first).dtype, _values(first).shape[1:]
    total, lengths = 0, []
    for column in rows.staged(label):
        total += len(_values(column))
        if isinstance(column, Ragged):
            lengths.append(column.lengths)

    def parts() -> Iterator[NDArray[Any]]:
        for column in rows.checked(label):
            values = _values(column)
            if (isinstance(column, Ragged), values.dtype, values.shape[1:]) != (ragged, dtype, rest):
                raise StoreError(
                    f"column {label!r} is {values.dtype} {values.shape[1:]} in one block, "
                    f"{dtype} {rest} was expected from the first"
                )
            yield values

    axis = f"{label}_value" if ragged else row_axis
    names = spec.dims or tuple(f"{label}_{number}" for number in range(1, 1 + len(rest)))
    layout = ArrayLayout.of_rows(
        label,
        (axis, *names),
        (total, *rest),
        dtype=dtype.name,
        chunk_bytes=spec.chunk_bytes,
        compression=spec.compression,
    )
    infos = {label: write_column(tree, layout, (total, *rest), parts())}
    if ragged:
        offsets = offsets_of(np.concatenate(lengths))
        infos[f"{label}_offsets"] = write_whole(tree, f"{label}_offsets", offsets, [f"{row_axis}_bound"])
    return infos


def _values(column: Column) -> NDArray[Any]:
    return column.values if isinstance(column, Ragged) else column
