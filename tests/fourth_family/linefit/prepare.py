"""`polycli prepare linefit`."""

from collections.abc import Sequence

from linefit.points import Points, PointsPlan, StagePoints
from linefit.recipes import PrepareRecipe
from polycli.paths import expand_paths
from polycli.requests import JsonDocument, PrepareRequest
from polycli.store.manifest import Manifest, SourceFile
from polycli.workflow.prepare import Preparation
from polycli.workflow.prepared_stores import DraftedStore, DryRun
from polycli.workflow.sources import load_source
from polycli.workflow.store_plans import Draft


def run(request: PrepareRequest) -> JsonDocument:
    return PointPreparation(request).run()


class PointPreparation(Preparation[PrepareRecipe, Points, StagePoints, None]):
    """One store of one file."""

    family = "linefit"
    row, rows_are = "point", "points"
    counted = ("point", "points")
    doing = "reading points"

    def drafts(self) -> list[Draft[Points]]:
        request = self.request
        points = load_source(self.family, request.source).open(expand_paths(request.inputs), self.recipe, request.limit)
        files = ((points.path, points.path.name),)
        return [Draft(request.output.stem, request.output, points, files=files, pieces=1)]

    def plan(self, draft: Draft[Points], sources: Sequence[SourceFile]) -> PointsPlan:
        options = {"source": self.request.source, "limit": self.request.limit, **self.recipe.model_dump(mode="json")}
        return PointsPlan(draft.target, draft.content, self.recipe, tuple(sources), options)

    @staticmethod
    def stage(task: StagePoints) -> None:
        task.run()

    def size(self, task: StagePoints) -> int:
        return len(task.points.values)

    def summary(self, manifest: Manifest) -> str:
        return f"{len(manifest.rejected)} rejected"

    def preview(self, draft: Draft[Points]) -> DraftedStore[None]:
        values = draft.content.values
        return DraftedStore(
            path=draft.target,
            name=draft.name,
            rows=len(values),
            files=1,
            bytes=values.nbytes,
            seconds=0.1,
            more=None,
        )

    def show(self, dry_run: DryRun[None]) -> str:
        return f"{sum(draft.rows for draft in dry_run.drafts)} points"
