"""Builds a store beside its target, row by row, and publishes it whole with one rename.

    TARGET.partial-<fingerprint>/
        rows/<name of key>/     one finished row: <array>/c/... and staged.json, moved here by one rename
        writing/                rows that are being written; what a killed process left is of no use
        records/<name>.json     what the caller noted about a row when it was complete
        store/                  the tree that becomes TARGET

Different processes may stage different keys at the same time. Nothing here knows a family.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from polycli import __version__
from polycli.errors import StoreError, problems_of
from polycli.requests import Split
from polycli.store.building import BuildPlace, create_array, hash_others, is_published, write_group, write_whole
from polycli.store.hashing import combined_hash
from polycli.store.layout import ArrayLayout
from polycli.store.manifest import SPLITS, FileEntry, LeftOut, Manifest, SourceFile
from polycli.store.staging import StagedRow, sync_folder, sync_trees, write_error, write_row, write_text, write_texts

__all__ = ["ArrayLayout", "StagedRow", "StoreBuilder", "is_published"]


class StoreBuilder:
    """Stages rows in `TARGET.partial-<fingerprint>` and publishes them as `TARGET`.

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

    def record(self, key: str) -> dict[str, Any] | None:
        """Returns the record given to `finish` for this key, in this process or an earlier one; None if incomplete."""
        try:
            document = json.loads(self._record_path(key).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        record: dict[str, Any] = document["record"]
        return record

    def stage(self, key: str, array: ArrayLayout, blocks: Iterable[NDArray[Any]]) -> StagedRow:
        """Stream one row of one array to disk; see `staging.write_row` for blocks and errors.

        What an earlier, unfinished try left under this key and array is replaced. The row outlasts a killed process at
        once, and a power cut when it is finished.
        """
        writing = self.work / "writing" / f"{_folder_name(key)}.{uuid.uuid4().hex}"
        try:
            writing.mkdir(parents=True)
            staged = write_row(writing / array.name, array, blocks)
            self._adopt(key, array.name, writing / array.name, staged)
        except OSError as error:
            raise write_error(self.target, error) from error
        finally:
            shutil.rmtree(writing, ignore_errors=True)
        return staged

    def finish(self, key: str, record: Mapping[str, Any]) -> None:
        """Note that this key is complete: its arrays are staged, or it was rejected. Call it last."""
        self.finish_all({key: record})

    def finish_all(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        """The same for several keys at once, which takes a disk a small part of the time that it takes one by one.

        When it returns, the rows and their records outlast a power cut; before, a key has no record.
        """
        texts = {
            self._record_path(key).name: json.dumps({"key": key, "record": dict(record)}, ensure_ascii=False)
            for key, record in records.items()
        }
        try:
            staged = [folder for folder in map(self._row_folder, records) if folder.is_dir()]
            sync_trees(staged)
            if staged:
                sync_folder(self.work / "rows")
            (self.work / "records").mkdir(parents=True, exist_ok=True)
            write_texts(self.work / "records", texts)
        except OSError as error:
            raise write_error(self.target, error) from error

    def publish(
        self,
        rows: Sequence[str],
        arrays: Mapping[str, NDArray[Any]],
        *,
        family: str,
        name: str,
        row_ids: Sequence[str],
        row_splits: Sequence[Split],
        split_rule: str,
        row_ids_given: bool = False,
        statistics: Mapping[str, Mapping[str, Mapping[str, float]]],
        dims: Mapping[str, Sequence[str]] | None = None,
        sources: Sequence[SourceFile] = (),
        rejected: Sequence[LeftOut] = (),
        flagged: Sequence[LeftOut] = (),
        about: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Path:
        """Make the store of the staged rows, in this order, and rename it to the target; returns the target.

        `arrays` are small whole arrays, `dims` their axis names; a uint8 array `split` is added. Staged keys that are
        not in `rows` are dropped. Killed at any instant, the target is absent or whole, and a second call goes on.

        Raises:
            StoreError: another store stands at the target, a row is not staged, or rows differ in shape.
            PolycliError: the disk is full, or what was written does not read back.
        """
        if self._place.is_done():
            self._place.clear()
            return self.target
        self._place.refuse_other_target()
        with self._place.publishing():
            tree = self._place.tree
            self._take_back()
            staged = [self._staged(key) for key in rows]
            layouts, shapes = _joined_shapes(rows, staged)
            hashes = _row_hashes(staged)
            if not len(hashes) == len(row_ids) == len(row_splits):
                raise ValueError(f"{len(hashes)} rows, {len(row_ids)} ids and {len(row_splits)} splits")
            write_text(self.work / "plan.json", json.dumps(list(rows)))
            files = self._move_rows(tree, rows, staged)
            infos = {label: create_array(tree, layouts[label], shapes[label]) for label in layouts}
            whole = {"split": np.array([SPLITS.index(split) for split in row_splits], np.uint8), **arrays}
            names = {"split": [next(iter(layouts.values())).dims[0]], **(dims or {})}
            for label, values in whole.items():
                infos[label] = write_whole(tree, label, values, names.get(label))
            write_group(tree)
            manifest = Manifest(
                family=family,
                name=name,
                version=__version__,
                fingerprint=self._place.fingerprint,
                rows=len(hashes),
                row_ids=tuple(row_ids),
                row_hashes=tuple(hashes),
                row_splits=tuple(row_splits),
                row_ids_given=row_ids_given,
                splits={split: list(row_splits).count(split) for split in SPLITS},
                split_rule=split_rule,
                arrays=infos,
                statistics={a: {f: dict(s) for f, s in fields.items()} for a, fields in statistics.items()},
                sources=tuple(sources),
                rejected=tuple(rejected),
                flagged=tuple(flagged),
                about=dict(about or {}),
                options=dict(options or {}),
                files=dict(sorted({**files, **hash_others(tree, files)}.items())),
            )
            self._place.seal(manifest)
        self._place.clear()
        return self.target

    def _record_path(self, key: str) -> Path:
        return self.work / "records" / f"{_folder_name(key)}.json"

    def _row_folder(self, key: str) -> Path:
        return self.work / "rows" / _folder_name(key)

    def _adopt(self, key: str, label: str, finished: Path, staged: StagedRow) -> None:
        """Move a finished array of a row into place, with its description."""
        folder = self._row_folder(key)
        (finished / "staged.json").write_text(staged.model_dump_json(), encoding="utf-8")
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            finished.parent.rename(folder)
            return
        if (folder / label).exists():
            (folder / label).rename(finished.with_name(f"replaced-{uuid.uuid4().hex}"))
        finished.rename(folder / label)

    def _staged(self, key: str) -> dict[str, StagedRow]:
        folder = self._row_folder(key)
        try:
            staged = {
                path.parent.name: StagedRow.model_validate_json(path.read_text(encoding="utf-8"))
                for path in sorted(folder.glob("*/staged.json"))
            }
        except ValidationError as error:
            raise StoreError(
                f"{self.work}: rows of it were staged by another version of polycli: {problems_of(error)}",
                hint=f"remove it and run the same prepare line again: rm -r {self.work}",
            ) from error
        if not staged:
            raise StoreError(f"{self.work}: row {key!r} is not staged", hint="run the same prepare line again")
        return staged

    def _move_rows(self, tree: Path, rows: Sequence[str], staged: list[dict[str, StagedRow]]) -> dict[str, FileEntry]:
        """Rename every row's shard folders to their place in the arrays; returns their files as staging hashed them."""
        files: dict[str, FileEntry] = {}
        for folder, place, entries in self._moves(rows, staged):
            (tree / place).parent.mkdir(parents=True, exist_ok=True)
            folder.rename(tree / place)
            files.update({f"{place}{rest}": entry for rest, entry in entries.items()})
        return files

    def _take_back(self) -> None:
        """Undo what a publish that was killed had moved, so that every publish starts from the same state."""
        tree = self._place.tree
        plan = self.work / "plan.json"
        if plan.exists():
            rows = json.loads(plan.read_text(encoding="utf-8"))
            for folder, place, _ in self._moves(rows, [self._staged(key) for key in rows]):
                if (tree / place).exists():
                    (tree / place).rename(folder)
            plan.unlink()
        shutil.rmtree(tree, ignore_errors=True)

    def _moves(
        self, rows: Sequence[str], staged: list[dict[str, StagedRow]]
    ) -> Iterator[tuple[Path, str, dict[str, FileEntry]]]:
        """Yields, for every row and array, the folder of its shards, its place in the store, and its files below that
        folder.
        """
        for number, (key, arrays) in enumerate(zip(rows, staged, strict=True)):
            for label, piece in arrays.items():
                entries = {path.removeprefix("c/0"): entry for path, entry in piece.files.items()}
                yield self._row_folder(key) / label / "c" / "0", f"{label}/c/{number}", entries


def _folder_name(key: str) -> str:
    """A file name for any key."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _joined_shapes(
    rows: Sequence[str], staged: list[dict[str, StagedRow]]
) -> tuple[dict[str, ArrayLayout], dict[str, tuple[int, ...]]]:
    """Layout and shape of every staged array over all rows, which must agree but for the number of rows."""
    if not rows:
        raise StoreError("there are no rows to publish", hint="see what was rejected, and why")
    layouts = {label: piece.layout for label, piece in staged[0].items()}
    shapes = {label: (0, *piece.shape[1:]) for label, piece in staged[0].items()}
    for key, arrays in zip(rows, staged, strict=True):
        if arrays.keys() != layouts.keys():
            raise StoreError(f"row {key!r} has arrays {sorted(arrays)}, row {rows[0]!r} has {sorted(layouts)}")
        for label, piece in arrays.items():
            if piece.layout != layouts[label] or piece.shape[1:] != shapes[label][1:]:
                raise StoreError(
                    f"array {label!r} is {piece.shape[1:]} in row {key!r}, {shapes[label][1:]} was expected "
                    f"from row {rows[0]!r}",
                    hint="prepare rows of different shape into different stores",
                )
            shapes[label] = (shapes[label][0] + piece.shape[0], *shapes[label][1:])
    if len({shape[0] for shape in shapes.values()}) > 1:
        raise StoreError(f"the arrays differ in their number of rows: {shapes}")
    return layouts, shapes


def _row_hashes(staged: list[dict[str, StagedRow]]) -> list[str]:
    return [combined_hash([piece.hash for piece in arrays.values()]) for arrays in staged]
