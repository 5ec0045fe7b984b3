"""Splits by place in the file, as the original MPP divides PDEBench's files: its figures are of their last rows."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from polycli.errors import UserError
from polycli.mpp.data.source import Dataset
from polycli.mpp.recipe.training import SplitSection
from polycli.requests import Split

#: What the manifest says of such splits.
FILE_ORDER = "by place in each file: the first train, then validation, the last test, as the original MPP has it"


def in_file_order(dataset: Dataset, split: SplitSection, *, limit: int | None) -> Dataset:
    """The dataset with such splits: shares of each file, of train and validation rounded up.

    Raises:
        UserError: the files say their splits themselves, or only some of the trajectories are taken.
    """
    if dataset.splits is not None:
        raise UserError(
            f"{dataset.name}: the files say the split of each trajectory, and split.rule=file_order says otherwise",
            hint="leave split.rule out",
        )
    if limit is not None:
        raise UserError(
            f"{dataset.name}: split.rule=file_order divides whole files, and --limit {limit} takes their first rows",
            hint="leave --limit out here, and give it to eval",
        )
    names: dict[str, set[str]] = {}
    for source, name in [(job.source, name) for job in dataset.jobs for name in job.ids] + [
        (left.source, left.id) for left in dataset.rejected
    ]:
        names.setdefault(source, set()).add(name)
    splits: dict[tuple[str, str], Split] = {}
    for source, found in names.items():
        train = min(len(found), _rounded_up((1 - split.validation - split.test) * len(found)))
        validation = min(len(found) - train, _rounded_up(split.validation * len(found)))
        # Ids are numbers in as many digits as the first thousands need.
        for place, name in enumerate(sorted(found, key=lambda name: (len(name), name))):
            splits[source, name] = "train" if place < train else "validation" if place < train + validation else "test"
    return replace(dataset, splits=splits)


def _rounded_up(share: float) -> int:
    # 0.8 of 1,000 is 800, whatever the last digit of 0.8 in binary is.
    return ceil(round(share, 6))
