"""Windows of trajectories: where they lie in a store, what the model must know about them, and how a batch is read.

A window is `history` frames and those to predict after them, `time_stride` apart: one, or as many as training unrolls.
Fields meet the model's vocabulary by name.
Where a whole trajectory is asked about, a window is `history` frames alone, and comes with the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycli.console import counted
from polycli.engine.task import Batch
from polycli.errors import StoreError
from polycli.mpp.data.about import physics_of
from polycli.mpp.data.parameters import told_of_rows
from polycli.mpp.recipe.training import DataSection, PretrainRecipe
from polycli.store.reader import Store, Window


@dataclass
class WindowBatch:
    """Some windows of one dataset, not yet read: a micro-batch."""

    windows: Windows
    #: Numbers of windows within `windows`, below its length.
    numbers: NDArray[np.int64]
    weight: float
    samples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.samples = tuple(self.windows.sample(int(number)) for number in self.numbers)

    def load(self) -> Batch:
        """Read it: fields (B, history + predicted, C, H, W) float32, state_labels (C,), bcs (B, 2); what is asked.

        Where the vectors of all windows are known, these stand in place of the fields.
        """
        targets, vectors = self.windows.targets, self.windows.vectors
        asked = {} if targets is None else {"targets": torch.from_numpy(targets[self.numbers // self.windows.starts])}
        if vectors is not None:
            return {"vectors": vectors[torch.from_numpy(self.numbers)], **asked}
        windows = [self.windows.window(int(number)) for number in self.numbers]
        fields = self.windows.store.read_windows("fields", windows)
        return {
            "fields": torch.from_numpy(np.ascontiguousarray(fields, dtype=np.float32)),
            "state_labels": torch.tensor(self.windows.labels, dtype=torch.long),
            "bcs": torch.tensor([self.windows.boundary_flags] * len(windows), dtype=torch.long),
            **asked,
            **self._told(),
        }

    def _told(self) -> Batch:
        """The numbers that a network is told of the windows beside their frames, (B, M), where it is told some."""
        told = self.windows.told
        return {} if told is None else {"told": torch.from_numpy(told[self.numbers // self.windows.starts])}


@dataclass(frozen=True)
class Windows:
    """All windows of some trajectories of one store, numbered trajectory by trajectory, then by first frame."""

    store: Store
    rows: NDArray[np.int64]
    #: Ids of the store's fields in the model's vocabulary, in the order of the store.
    labels: tuple[int, ...]
    boundary_flags: tuple[int, int]
    length: int
    stride: int
    #: The numbers to predict of each of `rows`, (row, target), where trajectories are asked about.
    targets: NDArray[np.float32] | None = None
    #: What a network is told of each of `rows`, (row, number); NaN where it is not known.
    told: NDArray[np.float32] | None = None
    #: A vector for each window, where a network that does not train has seen them all.
    vectors: Tensor | None = None

    @property
    def starts(self) -> int:
        """The number of windows of one trajectory."""
        return self.frames - (self.length - 1) * self.stride

    @property
    def frames(self) -> int:
        """The number of frames of one trajectory."""
        return self.store.manifest.arrays["fields"].shape[1]

    @property
    def grid(self) -> tuple[int, int]:
        """The numbers of grid points along (H, W)."""
        height, width = self.store.manifest.arrays["fields"].shape[3:]
        return height, width

    def __len__(self) -> int:
        return len(self.rows) * self.starts

    def window(self, number: int) -> Window:
        """Finds the row and the first frame of window `number` in the store."""
        row, start = divmod(number, self.starts)
        return Window(row=int(self.rows[row]), start=start, length=self.length, stride=self.stride)

    def sample(self, number: int) -> str:
        """The name of window `number`: `dataset/row_id@frame`, frame being its first in the store."""
        window = self.window(number)
        return f"{self.store.name}/{self.store.manifest.row_ids[window.row]}@{window.start}"

    def spread(self, count: int) -> NDArray[np.int64]:
        """The numbers of at most `count` windows, evenly spread over all of them."""
        count = min(count, len(self))
        return (np.arange(count, dtype=np.int64) * 2 + 1) * len(self) // (2 * max(count, 1))


def find_windows(
    store: Store, split: Literal["train", "validation"], recipe: PretrainRecipe, *, after: int | None = None
) -> Windows:
    """The windows of a split, each of `data.history` frames and `after` more.

    These are the frames to predict: where it is None, as many as training unrolls, and one to validate on.

    A store too small for a validation split lends its test rows.

    Raises:
        StoreError: no trajectory trains, or the recipe does not fit the store.
    """
    if after is None:
        after = recipe.objective.unroll if split == "train" else 1
    windows = _windows(store, split_rows(store, split, recipe.data), recipe, after)
    if split == "train" and len(windows.rows) == 0:
        raise StoreError(
            f"{store.path}: none of the {store.manifest.rows} trajectories is in the train split",
            hint="prepare the store again from more trajectories",
        )
    return windows


def split_rows(store: Store, split: Literal["train", "validation"], data: DataSection) -> NDArray[np.int64]:
    """The rows of a split that the recipe takes; a store too small for a validation split lends its test rows.

    Raises:
        StoreError: the recipe takes more than there are.
    """
    rows = store.rows(split)[: data.limit]
    if split == "train" and data.train_trajectories is not None and len(rows):
        return first_by_hash(store, rows, data.train_trajectories)
    return rows


def first_by_hash(store: Store, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The `count` of these rows whose content hashes are the lowest, in the order of the store.

    The hash of a row knows nothing of the others, so `count` rows lie within any larger choice from the same rows.

    Raises:
        StoreError: there are fewer rows.
    """
    if count > len(rows):
        raise StoreError(
            f"{store.path}: data.train_trajectories asks for {count} trajectories, and "
            f"{counted(len(rows), 'trajectory trains', 'trajectories train')}",
            hint=f"--set data.train_trajectories={len(rows)}, or less, fits this store",
        )
    hashes = store.row_hashes()[rows]
    order = sorted(range(len(rows)), key=lambda place: hashes[place].tobytes())
    return np.sort(rows[order[:count]])


def _windows(store: Store, rows: NDArray[np.int64], recipe: PretrainRecipe, after: int) -> Windows:
    about = physics_of(store.manifest, store.path)
    windows = Windows(
        store=store,
        rows=rows,
        labels=field_labels(about.fields, recipe.model.fields, store.path.name),
        boundary_flags=about.boundary_flags,
        length=recipe.data.history + after,
        stride=recipe.data.time_stride,
        told=told_of_rows(store, rows, recipe.model.told, interval=about.dt * recipe.data.time_stride),
    )
    _check_frames(windows, after)
    return windows


def _check_frames(windows: Windows, after: int) -> None:
    if windows.starts >= 1:
        return
    if after > 1:
        raise StoreError(
            f"{windows.store.path.name}: trajectories have {windows.frames} frames, but data.history "
            f"{windows.length - after} and objective.unroll {after} with data.time_stride {windows.stride} need "
            f"{(windows.length - 1) * windows.stride + 1}",
            hint="unroll fewer steps, or prepare longer trajectories",
        )
    most = (windows.frames - 1) // windows.stride + 1 - after
    raise StoreError(
        f"{windows.store.path.name}: trajectories have {windows.frames} frames, but data.history "
        f"{windows.length - after} "
        f"with data.time_stride {windows.stride} needs {(windows.length - 1) * windows.stride + 1}",
        hint=f"--set data.history={most}, or less, fits this store" if most else "prepare longer trajectories",
    )


def field_labels(fields: Iterable[str], vocabulary: Sequence[str], store: str) -> tuple[int, ...]:
    """Ids of a store's fields in a model's vocabulary, by name.

    Raises:
        StoreError: fields that the model does not know, with the nearest names that it does know.
    """
    fields = tuple(fields)
    unknown = [field for field in fields if field not in vocabulary]
    if unknown:
        near = {field: get_close_matches(field, vocabulary, n=2, cutoff=0.5) for field in unknown}
        described = ", ".join(f"'{f}'" + (f" (nearest: {', '.join(near[f])})" if near[f] else "") for f in unknown)
        raise StoreError(
            f"{store}: the model's vocabulary has no field {described}; it has {', '.join(vocabulary)}",
            hint=f"a model of these fields alone: --set 'model.fields=[{', '.join(fields)}]'; a trained one learns new "
            "fields in finetune",
        )
    return tuple(vocabulary.index(field) for field in fields)
