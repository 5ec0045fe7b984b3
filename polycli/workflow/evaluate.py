"""The flow of `polycli eval` for every family: stores, what of them is scored, scores, report, files and a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

from polycli.console import result, say_where
from polycli.errors import UserError
from polycli.json_records import JsonObject, finite, to_object
from polycli.report.browser import open_in_browser
from polycli.report.folder import evaluation_folder, write_scores
from polycli.report.html import Block
from polycli.report.scores import DatasetScores, Scores
from polycli.report.table import Table, as_text
from polycli.report.training import training_blocks
from polycli.report.verdict import Verdict
from polycli.requests import EvalRequest, JsonDocument
from polycli.sections import Section
from polycli.store.reader import Store
from polycli.workflow.evaluated_stores import evaluated_stores, output_folder
from polycli.workflow.loaded import LoadedCheckpoint
from polycli.workflow.overlap import ScoredRows, check_overlap, warn_of_shared_validation
from polycli.workflow.untrained import ALLOW_KEY


class ScoredSubset(Protocol):
    """The part of one store that is scored; a family's own record says how."""

    @property
    def scored(self) -> ScoredRows:
        """The store and the rows of it."""
        ...


Loaded = TypeVar("Loaded", bound=LoadedCheckpoint)
Settings = TypeVar("Settings", bound=Section)
Subset = TypeVar("Subset", bound=ScoredSubset)
Picture = TypeVar("Picture")


class Evaluation(ABC, Generic[Loaded, Settings, Subset, DatasetScores, Picture]):
    """The science of one family's evaluation: what is scored, how, and how it is shown. `run` is the same for all."""

    family: ClassVar[str]
    #: What the rows of a store are called: trajectories, records or objects.
    rows_are: ClassVar[str]
    #: Keys of the settings that stand elsewhere in scores.json.
    said_elsewhere: ClassVar[frozenset[str]] = frozenset()
    #: Keys of the settings that stand in scores.json only where something was given for them.
    said_if_given: ClassVar[frozenset[str]] = frozenset({"model", ALLOW_KEY})
    #: Files and folders that scoring leaves beside figures, report and scores.
    parts: ClassVar[tuple[str, ...]] = ()
    #: Whether it takes `--baseline`.
    compares: ClassVar[bool] = False

    def __init__(self, loaded: Loaded, settings: Settings, request: EvalRequest) -> None:
        self.loaded, self.settings, self.request = loaded, settings, request

    @abstractmethod
    def choose(self, store: Store) -> Subset:
        """Chooses the part of a store that is scored, after a check of everything that could stop it.

        Raises:
            StoreError: the store does not fit the model, or has no rows of the split.
        """

    @abstractmethod
    def score(self, subset: Subset, folder: Path) -> tuple[DatasetScores, Picture]:
        """All scores of one dataset, and what its figures show; `parts` are written into `folder`."""

    @abstractmethod
    def tables(self, datasets: Mapping[str, DatasetScores]) -> Sequence[Table]:
        """The scores of all datasets as people read them on a terminal."""

    @abstractmethod
    def write_report(
        self,
        scores: Scores[DatasetScores],
        subsets: Mapping[str, Subset],
        pictures: Mapping[str, Picture],
        folder: Path,
    ) -> None:
        """Draw figures and write report.html into `folder`."""

    def training(self, folder: Path) -> list[Block]:
        """The report's section on how the model was trained, with figures in `folder`; nothing without its run."""
        return training_blocks(self.loaded.training_lines(), folder / "figures", scored=self.loaded.step)

    def over_all(self, pictures: Mapping[str, Picture]) -> object:  # noqa: ARG002  # Some families need it.
        """Returns what scores.json says of all datasets together, from what each showed: a record or a mapping."""
        return {}

    def verdicts(self, datasets: Mapping[str, DatasetScores]) -> Mapping[str, Verdict]:  # noqa: ARG002  # families say
        """Returns by dataset one sentence on how good the model is there, and what to do next; none if nobody says."""
        return {}

    def compared_with(self) -> object:
        """Returns what scores.json says besides of the models that this one is compared with: a record or a mapping."""
        return {}

    def run(self, *, report: bool) -> JsonDocument:
        """Score all stores and write scores.json and, with `report`, report.html and figures.

        Raises:
            UserError: checkpoint, stores and settings do not fit each other, or the checkpoint was trained on what it
                would be tested on; nothing was written.
        """
        request, loaded = self.request, self.loaded
        if request.baselines and not self.compares:
            raise UserError(f"eval {self.family} takes no --baseline here: it compares with no other checkpoints")
        stores = evaluated_stores(request.data, family=self.family, model_file=loaded.model_file, run=loaded.run)
        subsets = {store.name: self.choose(store) for store in stores}
        scored = [subset.scored for subset in subsets.values()]
        seen = check_overlap(scored, loaded, rows_are=self.rows_are, allow=request.allow_overlap)
        warn_of_shared_validation(scored, loaded, request.split, rows_are=self.rows_are)
        output = output_folder(request, loaded.run)
        compared, settings = self.compared_with(), self._settings()
        datasets: dict[str, DatasetScores] = {}
        pictures: dict[str, Picture] = {}
        # Beside the output: a store that turns out to be damaged leaves nothing there.
        with evaluation_folder(output, parts=self.parts) as unfinished:
            for name, subset in subsets.items():
                datasets[name], pictures[name] = self.score(subset, unfinished)
            scores = finite(
                Scores(
                    split=request.split,
                    provenance=loaded.provenance(),
                    store_hash={store.name: store.manifest.store_hash for store in stores},
                    overlap=seen.document(self.rows_are),
                    compared_with=compared,
                    settings=settings,
                    datasets=datasets,
                    over_all=self.over_all(pictures),
                )
            )
            scores = finite(replace(scores, verdicts=self.verdicts(scores.datasets) or None))
            document = to_object(scores)
            if report:
                self.write_report(scores, subsets, pictures, unfinished)
            write_scores(document, unfinished)
        say_where("scores", output / "scores.json")
        if report:
            say_where("report", output / "report.html")
            if request.open:
                open_in_browser(output / "report.html")
        if not request.json:
            result("\n\n".join(as_text(table) for table in self.tables(scores.datasets)))
        return document

    def _settings(self) -> JsonObject:
        given = self.settings.model_dump(mode="json", exclude_defaults=True)
        left_out = {"family", "verb", *self.said_elsewhere, *(self.said_if_given - given.keys())}
        return self.settings.model_dump(mode="json", exclude=left_out)
