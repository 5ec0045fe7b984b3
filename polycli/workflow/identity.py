"""Knows a row again in another store: by its content, by parts of it alone, or by the id that its user gave.

A store of images and one of spectra hold the same objects, one of every frame and one of every second frame the same
trajectories, and their rows are not equal. So a store has, besides the hash of each whole row, an array `hash_PART`
(row,) or (row, n) of numbers for each part: image, spectrum, frames. A row is known again by one part or, where a row
has several of a kind, by two of them, because simulations that differ may begin alike.

Frames have several numbers each, (row, n, view): of every k-th of their grid points, k from 1 to 8. Two stores that
keep every a-th and every b-th point of one grid, a and b up to 8, share the points of lcm(a, b), and so a view.

All numbers are the first 8 bytes of SHA-256: of a million rows and a million others, two agree by chance with
probability 5e-8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from polycli.errors import StoreError
from polycli.store.columns import Column
from polycli.store.hashing import row_hashes
from polycli.store.manifest import AGAIN_HINT
from polycli.store.overlap import Numbers, pack, prefixes, unpack
from polycli.store.reader import Store

PART_PREFIX = "hash_"
_BYTES = 8
#: Points along each axis of the first view of a frame: grids of 2**n * 16 points that keep every 2nd or 4th share it.
_POINTS = 16
#: The other views are of every k-th point, k from 1 to this: strides up to it are seen through one another.
MOST_STRIDE = 8
#: Points along an axis that a view must have to tell simulations apart.
FEWEST_POINTS = 8
#: Numbers of all parts that model.json has of a store, at most: 11 MiB of text.
_MOST = 2**20
#: Parts of one row that must agree where a row has several.
_NEEDED = 2


def part_numbers(column: Column) -> Numbers:
    """Returns a number for each row of one column, (rows,): equal where dtype, shape and bytes are equal."""
    return prefixes(row_hashes([column]))


def frame_numbers(frames: NDArray[np.float32]) -> list[list[int]]:
    """Returns the numbers of each frame of (time, field, x, y), one for each view of its grid.

    Frames of one grid have views of the same place in the list; a view with too few points repeats the first.
    """
    grid = frames.shape[-2:]
    whole = any(points % _POINTS for points in grid)
    numbers = [_of_view(frames, *((1, 1) if whole else (points // _POINTS for points in grid)))]
    for step in range(1, MOST_STRIDE + 1):
        numbers.append(_of_view(frames, step, step) if _tells(grid, step) else numbers[0])
    return [list(views) for views in zip(*numbers, strict=True)]


def _of_view(frames: NDArray[np.float32], x: int, y: int) -> list[int]:
    return [_number(np.ascontiguousarray(frame).tobytes()) for frame in frames[..., ::x, ::y]]


def strides_tell(grid: tuple[int, int], stride: int) -> bool:
    """Whether a trajectory whose grid of so many points is left by a stride is known again through other strides."""
    return stride <= MOST_STRIDE and all(points == 1 or points >= FEWEST_POINTS for points in grid)


def _tells(grid: tuple[int, ...], step: int) -> bool:
    """Whether a view of every so many points has enough of them."""
    return all(points == 1 or -(-points // step) >= FEWEST_POINTS for points in grid)


@dataclass(frozen=True)
class Identities:
    """Some rows of a store, as they are known again."""

    #: (rows,), of the whole content.
    whole: Numbers
    #: By part: (rows, n).
    parts: Mapping[str, Numbers]
    #: (rows,), of the ids that the user gave; None where the rows have none.
    ids: Numbers | None

    @classmethod
    def of(cls, store: Store, rows: NDArray[np.int64]) -> Identities:
        """Returns the identities of some rows; stores of earlier versions have neither parts nor ids to compare."""
        names = [name for name in store.manifest.arrays if name.startswith(PART_PREFIX)]
        parts = {name.removeprefix(PART_PREFIX): _part(store, name, rows) for name in names}
        return cls(
            whole=prefixes(store.row_hashes()[rows]),
            parts={view: numbers for name, part in parts.items() for view, numbers in _views(name, part).items()},
            ids=_id_numbers(store.row_ids(rows)) if store.manifest.row_ids_given else None,
        )

    def packed_parts(self) -> dict[str, str]:
        """Returns what model.json says of the parts of rows that trained."""
        return {name: pack(_thinned(values, _MOST // len(self.parts))) for name, values in self.parts.items()}

    def packed_ids(self) -> str | None:
        """Returns what model.json says of the ids of rows that trained."""
        return None if self.ids is None else pack(self.ids)


@dataclass(frozen=True)
class KnownRows:
    """Rows that were met before, by which others are recognised."""

    content: Numbers
    ids: Numbers = field(default_factory=lambda: np.empty(0, np.uint64))

    @classmethod
    def of(cls, identities: Iterable[Identities]) -> KnownRows:
        """Returns the rows of several stores together."""
        met = list(identities)
        content = [numbers.reshape(-1) for one in met for numbers in (one.whole, *one.parts.values())]
        return cls(_joined(content), _joined([one.ids for one in met if one.ids is not None]))

    @classmethod
    def of_training(
        cls, rows: str | Sequence[str], parts: Mapping[str, str] | None = None, ids: str | None = None
    ) -> KnownRows:
        """Returns the rows that model.json says trained.

        Raises:
            CheckpointError: what it has are no hashes.
        """
        content = [unpack(rows), *(unpack(packed) for packed in (parts or {}).values())]
        return cls(_joined(content), unpack(ids or ""))

    def content_of(self, rows: Identities) -> NDArray[np.bool_]:
        """Says for each row whether its content, all of it or a part, was met before."""
        seen = np.isin(rows.whole, self.content)
        for numbers in rows.parts.values():
            seen |= _enough(numbers, np.isin(numbers, self.content))
        return seen

    def ids_of(self, rows: Identities) -> NDArray[np.bool_]:
        """Says for each row whether its id was met before, where users gave ids on both sides."""
        return np.zeros(len(rows.whole), np.bool_) if rows.ids is None else np.isin(rows.ids, self.ids)


def _part(store: Store, name: str, rows: NDArray[np.int64]) -> Numbers:
    """Reads the (rows, n) or (rows, n, views) numbers of one part."""
    info = store.manifest.arrays[name]
    if info.dtype != "uint64" or info.shape[:1] != (store.manifest.rows,):
        raise StoreError(
            f"{store.path}: array {name!r} is {info.dtype} {info.shape}, a uint64 for each row was expected",
            hint=AGAIN_HINT,
        )
    return store.read(name)[rows]


def _views(name: str, part: Numbers) -> dict[str, Numbers]:
    """Splits the numbers of a part by view, (rows, n) each; what has none is one view."""
    if part.ndim < 3:  # rows, numbers, views
        return {name: part.reshape(len(part), -1)}
    return {name if view == 0 else f"{name}/{view}": part[..., view] for view in range(part.shape[-1])}


def _enough(numbers: Numbers, met: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Says for each row whether so many different numbers of it were met that it is the same row."""
    found = np.zeros(len(numbers), np.bool_)
    for row in np.flatnonzero(met.any(axis=1)).tolist():
        needed = min(_NEEDED, len(np.unique(numbers[row])))
        found[row] = len(np.unique(numbers[row][met[row]])) >= needed
    return found


def _thinned(numbers: Numbers, most: int) -> Numbers:
    """Returns so many of (rows, n) numbers, as whole columns, evenly, with the first and the last."""
    rows, columns = numbers.shape
    kept = min(columns, max(_NEEDED, most // max(rows, 1)))
    return numbers[:, np.unique(np.linspace(0, columns - 1, kept).round().astype(np.int64))].reshape(-1)


def _joined(parts: Sequence[Numbers]) -> Numbers:
    return np.unique(np.concatenate([np.empty(0, np.uint64), *parts]))


def _id_numbers(ids: Sequence[str]) -> Numbers:
    return np.array([_number(name.encode()) for name in ids], np.uint64)


def _number(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:_BYTES], "big")
