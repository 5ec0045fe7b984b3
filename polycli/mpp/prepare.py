"""`polycli prepare mpp`: source files or simulations to one store for each dataset that is found in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from polycli import console
from polycli.errors import UserError
from polycli.mpp.data.file_order import in_file_order
from polycli.mpp.data.publishing import Plan, summarise
from polycli.mpp.data.source import Dataset, named
from polycli.mpp.data.staging import StageTask, stage
from polycli.mpp.recipe.arrays import WellSection
from polycli.mpp.recipe.training import PrepareRecipe
from polycli.paths import expand_paths
from polycli.requests import JsonDocument, PrepareRequest
from polycli.store.manifest import LeftOut, Manifest, SourceFile
from polycli.workflow.identity import strides_tell
from polycli.workflow.prepare import Preparation
from polycli.workflow.prepared_stores import DraftedEntry, DraftedStore, DryRun, DryRunDocument, duration_of, size_of
from polycli.workflow.sources import load_source
from polycli.workflow.store_plans import Draft
from polycli.workflow.store_plans import Plan as AnyPlan

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
#: What one process stages, for estimates: reading, statistics in float64, hashing, compression, reading back.
BYTES_PER_SECOND = 40e6


def run(request: PrepareRequest) -> JsonDocument:
    """Prepare what is asked for; see `Preparation.run`."""
    return TrajectoryPreparation(request).run()


@dataclass(frozen=True, kw_only=True)
class TrajectoryFacts:
    """Facts that a dry run tells of the trajectories of one dataset."""

    frames: int
    fields: Sequence[str]
    #: Points along x and y.
    grid: tuple[int, int]
    #: The time between frames.
    dt: float
    rejected: Sequence[LeftOut]


@dataclass(frozen=True, kw_only=True)
class Flagged:
    """How many trajectories of a store are strange."""

    flagged: int


class TrajectoryPreparation(Preparation[PrepareRecipe, Dataset, StageTask, TrajectoryFacts]):
    """One store for each dataset: equal physics, grid, time step, boundaries and constants."""

    family = "mpp"
    row, rows_are = "trajectory", "trajectories"
    counted = ("trajectory", "trajectories")
    doing = "preparing trajectories"

    @property
    def folder(self) -> Path:
        """`--output` itself, for there may be several stores."""
        return self.request.output

    def drafts(self) -> list[Draft[Dataset]]:
        """Returns a draft for each dataset."""
        request = self.request
        source = load_source(self.family, request.source)
        datasets: list[Dataset] = source.open(expand_paths(request.inputs), self.recipe, request.limit)
        if self.recipe.dataset.name is not None:
            if request.source == "simulate":
                raise UserError("dataset.name: a simulation is named by its key in the recipe's simulate section")
            datasets = named(datasets, self.recipe.dataset.name)
        if self.recipe.split.rule == "file_order":
            datasets = [in_file_order(dataset, self.recipe.split, limit=request.limit) for dataset in datasets]
        for dataset in datasets:
            # A recipe names its simulations freely, and the name becomes a folder.
            if not _PLAIN_NAME.fullmatch(dataset.name):
                raise UserError(
                    f"dataset {dataset.name!r} cannot name a store: letters, digits, '_', '-', '+' and '.' were "
                    "expected"
                )
        return [
            Draft(
                name=dataset.name,
                target=request.output / f"{dataset.name}.zarr",
                content=dataset,
                files=tuple(zip(dataset.files, dataset.manifest_names, strict=True)),
                pieces=len(dataset.jobs),
                bytes=_bytes(dataset),
            )
            for dataset in datasets
        ]

    def plan(self, draft: Draft[Dataset], sources: Sequence[SourceFile]) -> Plan:
        """The plan for a dataset, with the settings that decided its content."""
        dataset, recipe = draft.content, self.recipe
        options = {
            "source": self.request.source,
            "limit": self.request.limit,
            "select": recipe.select.model_dump(mode="json"),
            # Without the rule where it is the usual one, as before there were two.
            "split": recipe.split.model_dump(mode="json", exclude={"rule"} if recipe.split.rule == "content" else None),
        }
        if self.request.source == "arrays":
            options["arrays"] = recipe.arrays.model_dump(mode="json", exclude_defaults=True)
        if self.request.source == "well" and recipe.well != WellSection():
            options["well"] = recipe.well.model_dump(mode="json", exclude_defaults=True)
        if self.request.source == "pdebench" and recipe.pdebench.boundary is not None:
            options["pdebench"] = recipe.pdebench.model_dump(mode="json")
        if dataset.name in recipe.simulate:
            options["simulate"] = recipe.simulate[dataset.name].model_dump(mode="json")
        return Plan.of(dataset, draft.target, sources, options, recipe.split)

    @staticmethod
    def stage(task: StageTask) -> None:
        """Read, check and stage one piece."""
        stage(task)

    def size(self, task: StageTask) -> int:
        """Counts the trajectories of a task."""
        return len(task.keys)

    def pieces(self, plan: AnyPlan[StageTask]) -> int:
        """Counts the trajectories of a store, each of which has a note of its own."""
        return sum(len(plan.task(key).keys) for key in plan.keys)

    def summary(self, manifest: Manifest) -> str:
        """Says how many trajectories were left out, and how many are strange."""
        return f"{len(manifest.rejected)} rejected, {len(manifest.flagged)} flagged"

    def describe(self, plan: object, manifest: Manifest) -> Flagged:  # noqa: ARG002
        """Returns the number of trajectories that are strange; says where strides hide which trajectories they are."""
        x, y = manifest.about["grid"]
        stride = self.recipe.select.space_stride
        if stride > 1 and not strides_tell((x, y), stride):
            console.note(
                f"{manifest.name}: select.space_stride {stride} leaves {x}x{y} points: eval will not know these "
                "trajectories again in stores of other strides, and cannot refuse those that were trained on"
            )
        return Flagged(flagged=len(manifest.flagged))

    def preview(self, draft: Draft[Dataset]) -> DraftedStore[TrajectoryFacts]:
        """Describes the store that would be made, as far as the files have been read."""
        dataset = draft.content
        summarise(dataset.name, "rejected", dataset.rejected)
        summarise(dataset.name, "flagged", dataset.flagged)
        return DraftedStore(
            path=draft.target,
            name=dataset.name,
            rows=_trajectories(dataset),
            files=len(dataset.files),
            bytes=_bytes(dataset),
            seconds=_bytes(dataset) / BYTES_PER_SECOND if dataset.seconds is None else dataset.seconds,
            more=TrajectoryFacts(
                frames=int(dataset.time.size),
                fields=dataset.about.fields,
                grid=dataset.about.grid,
                dt=dataset.about.dt,
                rejected=dataset.rejected,
            ),
        )

    def show(self, dry_run: DryRun[TrajectoryFacts]) -> str:
        """A line for each dataset, and one for all."""
        total = dry_run.document(self.rows_are)
        in_all = f"in all, {console.counted(dry_run.workers, 'process', 'processes')}"
        entries: list[tuple[str, DraftedEntry | DryRunDocument]] = [(entry.name, entry) for entry in total.stores]
        entries.append((in_all, total))
        width = max(len(name) for name, _ in entries)
        lines = [f"{'dataset':<{width}}  trajectories  files        size     time"]
        for name, entry in entries:
            numbers = f"{entry.rows[self.rows_are]:>12}  {entry.files:>5}  {size_of(entry.bytes):>10}"
            lines.append(f"{name:<{width}}  {numbers}  {duration_of(entry.minutes):>7}")
        return "\n".join(lines)


def _trajectories(dataset: Dataset) -> int:
    return sum(len(job.ids) for job in dataset.jobs)


def _bytes(dataset: Dataset) -> int:
    """Size of the store before compression."""
    return 4 * _trajectories(dataset) * int(dataset.time.size) * len(dataset.about.fields) * prod(dataset.about.grid)
