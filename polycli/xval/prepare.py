"""`polycli prepare xval`: JSON, tables, text or simulations to one store of records."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from polycli import console
from polycli.errors import SourceError
from polycli.paths import expand_paths
from polycli.requests import JsonDocument, PrepareRequest
from polycli.store.manifest import Manifest, SourceFile
from polycli.workflow.prepare import Preparation
from polycli.workflow.prepared_stores import DraftedStore, DryRun
from polycli.workflow.sources import load_source
from polycli.workflow.store_plans import Draft
from polycli.xval.data.description import CoverageReport, KeyReport, RecordsAbout
from polycli.xval.data.preview import RecordFacts, as_text, preview
from polycli.xval.data.publishing import Plan
from polycli.xval.data.source import Opened
from polycli.xval.data.staging import StageTask, stage
from polycli.xval.recipe.training import PrepareRecipe, ScalerChoice

#: Sources of people's own records, whose numbers may have any size; what is simulated has the paper's scales.
SCALED_BY_DEFAULT = ("table", "json")
#: Key paths that a warning shows.
_SHOWN = 5


def run(request: PrepareRequest) -> JsonDocument:
    """Prepare what is asked for; see `Preparation.run`."""
    return RecordPreparation(request).run()


@dataclass(frozen=True, kw_only=True)
class RecordsRead:
    """Counts of what was read into a store of records."""

    numbers: int
    #: By rule, how many records it holds out of training.
    held_out: Mapping[str, int]
    coverage: CoverageReport


class RecordPreparation(Preparation[PrepareRecipe, Opened, StageTask, RecordFacts]):
    """One store of the records of all inputs."""

    family = "xval"
    row, rows_are = "record", "records"
    counted = ("block", "blocks")
    doing = "reading records"

    def with_defaults(self, recipe: PrepareRecipe) -> PrepareRecipe:
        """Scale people's own numbers by key path, where the recipe does not say how."""
        if self.request.source not in SCALED_BY_DEFAULT or "default" in recipe.scaling.model_fields_set:
            return recipe
        return recipe.model_copy(update={"scaling": recipe.scaling.model_copy(update={"default": "auto"})})

    def drafts(self) -> list[Draft[Opened]]:
        """One draft, of everything that the source opens."""
        request = self.request
        source = load_source(self.family, request.source)
        opened: Opened = source.open(expand_paths(request.inputs), self.recipe, request.limit)
        if not opened.blocks:
            raise SourceError(f"--source {request.source}: there are no records")
        name = request.output.stem
        return [Draft(name, request.output, opened, files=opened.named_files, pieces=len(opened.blocks))]

    def plan(self, draft: Draft[Opened], sources: Sequence[SourceFile]) -> Plan:
        """Makes the plan for the store."""
        return Plan.of(draft.target, draft.content, self.recipe, sources, source=self.request.source)

    @staticmethod
    def stage(task: StageTask) -> None:
        """Read, check and stage one piece."""
        stage(task)

    def size(self, task: StageTask) -> int:
        """Bytes of input, or records to make: as the source counts."""
        return task.block.size

    def amount(self, task: StageTask) -> int:  # noqa: ARG002
        """Returns 1: each piece is one block."""
        return 1

    def preview(self, draft: Draft[Opened]) -> DraftedStore[RecordFacts]:
        """Describes the store that would be made, as far as the first block tells."""
        return preview(draft.target, draft.name, draft.content, self.recipe)

    def show(self, dry_run: DryRun[RecordFacts]) -> str:
        """The counts, and the numbers of the first block by key path."""
        return as_text(dry_run)

    def summary(self, manifest: Manifest) -> str:
        """Says how many numbers there are."""
        return f"{manifest.about['coverage']['numbers']} numbers"

    def describe(self, plan: object, manifest: Manifest) -> RecordsRead:  # noqa: ARG002
        """Says what was read, held out and left out, and which numbers are hard to tell apart."""
        about = RecordsAbout.model_validate(manifest.about)
        coverage = about.coverage
        characters = f"{coverage.characters} characters read, " if coverage.characters else ""
        verified = console.counted(coverage.verified, "record", "records")
        console.say(f"{characters}none lost: {verified} decoded again; the longest has {coverage.longest} tokens")
        for rule, count in about.held_out.items():
            console.say(f"held out of training: {console.counted(count, 'record', 'records')} with {rule}")
        for what, count in coverage.notes.items():
            console.say(f"{what}: {count}")
        if not coverage.numbers:
            console.warn("no record has a number, so a model of this store learns no quantity; texts are all there is")
        elif about.scaling.default == "auto":
            console.say(_scaled(coverage.keys))
        warn_of_saturation(coverage, about.scaling.default)
        return RecordsRead(numbers=coverage.numbers, held_out=about.held_out, coverage=coverage)


def warn_of_saturation(coverage: CoverageReport, default: ScalerChoice) -> None:
    """Name the key paths whose numbers are too large, as they are scaled, for a model to tell them apart.

    `default` is the choice for key paths that the recipe does not name.
    """
    saturated = {path: entry for path, entry in coverage.keys.items() if entry.saturated}
    worst = [
        f"{path} ({entry.saturated:.2%}, scaled by {entry.scaler})"
        for path, entry in sorted(saturated.items(), key=lambda item: -item[1].saturated)
    ]
    if worst:
        console.warn(
            f"numbers beyond {coverage.saturation_limit:g} after scaling, where plain xVal hardly tells them apart: "
            f"{console.first_few(worst, _SHOWN)}"
        )
    affine = {path: "asinh" for path, entry in saturated.items() if entry.scaler == "affine"}
    if affine:
        keys = dict(list(affine.items())[:_SHOWN])
        chosen = yaml.safe_dump(keys, default_flow_style=True, width=math.inf, allow_unicode=True).strip()
        setting = shlex.quote(f"scaling={{default: {default}, keys: {chosen}}}")
        console.note(f"--set {setting} keeps numbers of many decades within that band")
    if any(entry.scaler == "none" for entry in saturated.values()):
        console.note("--set scaling.default=auto scales numbers by key path")


def _scaled(keys: Mapping[str, KeyReport]) -> str:
    """One line on what `auto` chose."""
    curved = [path for path, entry in keys.items() if entry.scaler == "asinh"]
    sentence = f"numbers are scaled by key path (scaling.default: auto): {len(keys) - len(curved)} affine"
    if not curved:
        return sentence
    return f"{sentence}, asinh over many decades: {console.first_few(curved, _SHOWN)}"
