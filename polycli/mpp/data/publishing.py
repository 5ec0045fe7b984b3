"""Turns finished rows into a store: what is rejected and why, splits, statistics of the training rows, the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import cast

import numpy as np

from polycli.console import warn
from polycli.errors import SourceError
from polycli.json_records import JsonObject
from polycli.mpp.data.file_order import FILE_ORDER
from polycli.mpp.data.oddities import warn_of_scale
from polycli.mpp.data.source import Dataset
from polycli.mpp.data.staging import Row, StageTask, is_staged
from polycli.mpp.recipe.training import SplitSection
from polycli.requests import Split
from polycli.store.builder import StoreBuilder
from polycli.store.hashing import canonical_hash
from polycli.store.manifest import LeftOut, SourceFile
from polycli.store.splits import describe_split, split_rows
from polycli.store.statistics import RunningStatistics
from polycli.workflow import left_out
from polycli.workflow.identity import PART_PREFIX

#: What the manifest says of splits that are not by hash.
_GIVEN = "as the files give it"


@dataclass(frozen=True)
class Plan:
    """One dataset on its way to `target`. The fingerprint is of everything that decides the store's content."""

    dataset: Dataset
    target: Path
    sources: tuple[SourceFile, ...]
    options: JsonObject
    split: SplitSection
    fingerprint: str

    @classmethod
    def of(
        cls, dataset: Dataset, target: Path, sources: Sequence[SourceFile], options: JsonObject, split: SplitSection
    ) -> Plan:
        """The plan for a dataset; equal sources, rows and options give an equal fingerprint, wherever files lie."""
        names = [(job.source, name) for job in dataset.jobs for name in job.ids]
        # Splits that files give are part of the content; without them, fingerprints stay what they were.
        rows = [[*name, *([dataset.splits[name]] if dataset.splits else [])] for name in names]
        fingerprint = canonical_hash(
            {
                "layout": 3,
                "name": dataset.name,
                "about": dataset.about.model_dump(mode="json"),
                "time": dataset.time.tolist(),
                "sources": [source.model_dump(mode="json") for source in sources],
                "rows": rows,
                "options": {key: value for key, value in options.items() if key != "limit"},
            }
        )
        return cls(dataset, target, tuple(sources), options, split, fingerprint)

    @property
    def keys(self) -> list[str]:
        """One piece of work for each job."""
        return [str(number) for number in range(len(self.dataset.jobs))]

    def task(self, key: str) -> StageTask:
        """Returns the work of one job."""
        about, number = self.dataset.about, int(key)
        job, first = self.dataset.jobs[number], self._first_rows[number]
        shape = (self.dataset.time.size, len(about.fields), *about.grid)
        names = tuple(f"{first + offset:08d}" for offset in range(len(job.ids)))
        return StageTask(self.target, self.fingerprint, job, names, shape, about.fields)

    def is_staged(self, key: str) -> bool:
        """Whether every trajectory of a job is staged or rejected."""
        return is_staged(self.task(key))

    def publish(self) -> Path:
        """Makes the store of the staged rows and returns its path; see the function `publish`."""
        return publish(self)

    @cached_property
    def _first_rows(self) -> list[int]:
        """The number of trajectories before each job, and last that of all jobs."""
        return [0, *accumulate(len(job.ids) for job in self.dataset.jobs)]


@dataclass(frozen=True)
class _Kept:
    key: str
    source: tuple[str, str]
    id: str
    row: Row


def publish(plan: Plan) -> Path:
    """Make the store of a plan whose rows are all staged.

    Raises:
        SourceError: every trajectory was rejected.
    """
    dataset, name = plan.dataset, plan.dataset.name
    builder = StoreBuilder(plan.target, fingerprint=plan.fingerprint)
    kept, rejected, flagged = _sift(plan, builder)
    summarise(name, "rejected", rejected)
    summarise(name, "flagged", flagged)
    if not kept:
        reasons = left_out.reasons_of(rejected)
        raise SourceError(f"{name}: all {len(rejected)} trajectories were rejected: {reasons}")
    hashes = [item.row["hash"] for item in kept]
    splits = _given_splits(dataset, kept) or split_rows(hashes, validation=plan.split.validation, test=plan.split.test)
    if len(kept) == 1:
        warn(f"{name}: a single trajectory; it trains, and nothing is left to validate or test on")
    train = [item.row["statistics"] for item, split in zip(kept, splits, strict=True) if split == "train"]
    fields = RunningStatistics.merge(train)
    warn_of_scale(name, fields)
    parameters = np.array([item.row["parameters"] for item in kept], dtype=np.float64)
    return builder.publish(
        [item.key for item in kept],
        {
            "params": parameters.reshape(len(kept), len(dataset.about.parameter_names)),
            "time": np.asarray(dataset.time, dtype=np.float64),
            f"{PART_PREFIX}frames": np.array([item.row["frames"] for item in kept], dtype=np.uint64),
        },
        family="mpp",
        name=name,
        row_ids=tuple(item.id for item in kept),
        row_splits=tuple(splits),
        split_rule=(FILE_ORDER if plan.split.rule == "file_order" else _GIVEN)
        if dataset.splits
        else describe_split(splits, validation=plan.split.validation, test=plan.split.test),
        statistics={"fields": fields},
        dims={
            "params": ("trajectory", "parameter"),
            "time": ("time",),
            f"{PART_PREFIX}frames": ("trajectory", "time", "view"),
        },
        sources=plan.sources,
        rejected=tuple(rejected),
        flagged=tuple(flagged),
        about=dataset.about.model_dump(mode="json"),
        options=plan.options,
    )


def _given_splits(dataset: Dataset, kept: Sequence[_Kept]) -> list[Split]:
    """The splits that the files give; none where they give none.

    Raises:
        SourceError: nothing is left to train on.
    """
    if dataset.splits is None:
        return []
    splits = [dataset.splits[item.source] for item in kept]
    if "train" not in splits:
        raise SourceError(
            f"{dataset.name}: of {len(kept)} trajectories none is given to train",
            hint="add files of the training split, or leave splits aside: rows are then divided by content hash "
            "(no arrays.split; well.split=hash)",
        )
    return splits


def _sift(plan: Plan, builder: StoreBuilder) -> tuple[list[_Kept], list[LeftOut], list[LeftOut]]:
    """Rows in source order, less those that are rejected; of equal rows the first is kept."""
    dataset = plan.dataset
    rejected = list(dataset.rejected)
    flagged = list(dataset.flagged)
    row_ids = dataset.row_ids
    first_with: dict[str, str] = {}
    kept = []
    for task in map(plan.task, plan.keys):
        for name, key in zip(task.job.ids, task.keys, strict=True):
            row = cast("Row", builder.record(key))
            row_id = row_ids[task.job.source, name]
            reason = row["rejected"]
            if reason is None and row["hash"] in first_with:
                reason = f"duplicate of {first_with[row['hash']]}: equal content"
            if reason is not None:
                rejected.append(LeftOut(source=task.job.source, id=name, reason=reason))
                continue
            first_with[row["hash"]] = f"{task.job.source} {name}"
            kept.append(_Kept(key, (task.job.source, name), row_id, row))
            flagged.extend(LeftOut(source=task.job.source, id=name, reason=flag) for flag in row["flags"])
    gone = {(left.source, left.id) for left in rejected}
    return kept, rejected, [left for left in flagged if (left.source, left.id) not in gone]


def summarise(name: str, what: str, entries: Sequence[LeftOut]) -> None:
    """Say which trajectories of a dataset are rejected or flagged, and why."""
    left_out.summarise(f"{name}: {what}", entries, kind=_KIND, show=_shown)


_KIND = left_out.beginning(":", " in ", " of ")


def _shown(entry: LeftOut) -> str:
    return f"{entry.source} {entry.id} ({entry.reason})"
