"""`polycli eval astroclip`: a checkpoint and stores to scores, figures and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.data.votes import refuse_absent_votes
from polycli.astroclip.model.loaded import LoadedAstroClip, load_for
from polycli.astroclip.recipe.model import Modality
from polycli.astroclip.recipe.settings import EvalSettings
from polycli.astroclip.scoring.audits.measure import check_columns
from polycli.astroclip.scoring.comparisons.by_labels import Baselines, say_how
from polycli.astroclip.scoring.comparisons.stein import check_stein, open_stein
from polycli.astroclip.scoring.dataset import Scoring
from polycli.astroclip.scoring.encode import common_modalities
from polycli.astroclip.scoring.measure import label_names, property_names
from polycli.astroclip.scoring.report import Illustration, write_report
from polycli.astroclip.scoring.score_records import ObjectScores, Unaligned
from polycli.astroclip.scoring.sides import Subset
from polycli.astroclip.scoring.tables import overview
from polycli.astroclip.scoring.unaligned import unaligned_encoders
from polycli.astroclip.scoring.verdicts import verdicts
from polycli.console import note, rank
from polycli.errors import StoreError
from polycli.recipes import default_recipe
from polycli.report.scores import Scores
from polycli.report.table import Table
from polycli.report.verdict import Verdict
from polycli.requests import EvalRequest, JsonDocument
from polycli.store.reader import Store
from polycli.workflow.evaluate import Evaluation


def run(request: EvalRequest) -> JsonDocument | None:
    """Score a checkpoint on the objects of a split, beside photometry, features by hand and encoders not aligned.

    Raises:
        UserError: checkpoint, stores and settings do not fit each other, or the checkpoint was trained on what it
            would be tested on; nothing was written.
    """
    settings = default_recipe("astroclip", "eval", request.overrides, schema=EvalSettings)
    if rank() > 0:
        return None  # Scores are made by one process.
    loaded = load_for(request.checkpoint, settings)
    if not request.baselines:
        say_how(loaded)
    return ObjectEvaluation(loaded, settings, request, unaligned_encoders(loaded, settings)).run(report=settings.report)


class ObjectEvaluation(Evaluation[LoadedAstroClip, EvalSettings, Subset, ObjectScores, Illustration]):
    """Scores the vectors of objects: properties, partners and, for spectra, hidden stretches."""

    family = "astroclip"
    rows_are = "objects"
    compares = True

    def __init__(
        self,
        loaded: LoadedAstroClip,
        settings: EvalSettings,
        request: EvalRequest,
        before: Mapping[Modality, LoadedAstroClip],
    ) -> None:
        """`before`: by modality, the encoders before their alignment."""
        super().__init__(loaded, settings, request)
        stein = settings.stein
        self.stein = None if stein is None else open_stein(stein, allow_untrained=settings.allow_untrained)
        learnt = None if loaded.model.properties is None else loaded.model.properties.section.votes
        if learnt is not None and settings.morphology.votes is not None:
            note("morphology.votes is passed over: the questions are those that the model's head has learnt")
        self.baselines = Baselines(loaded, settings, request) if request.baselines else None
        self.before, self.scoring = before, Scoring(loaded, before, settings, self.stein, self.baselines)

    def choose(self, store: Store) -> Subset:
        """The objects to score and to learn from."""
        objects, split, settings = ObjectStore(store), self.request.split, self.settings
        modalities = common_modalities(self.loaded, objects)
        self.loaded.check_units(objects.units, str(objects.path))
        test = objects.rows(split)[: self.request.limit]
        if len(test) < 2:
            raise StoreError(
                f"{objects.path}: {len(test)} objects are in the split {split}, at least 2 are needed; "
                f"there are {dict(objects.manifest.splits)}",
                hint="choose another --split, or prepare the store from more objects",
            )
        reference = np.setdiff1d(objects.rows("train"), test)
        if len(reference) > settings.reference_objects:
            chosen = np.random.default_rng(settings.seed).choice(
                len(reference), settings.reference_objects, replace=False
            )
            reference = reference[np.sort(chosen)]
        if len(reference) < 2:
            raise StoreError(
                f"{objects.path}: {len(reference)} objects are left to learn from in the split train, "
                "at least 2 are needed",
                hint="evaluate another --split",
            )
        property_names(objects, settings.properties)
        label_names(objects, settings.labels)
        check_columns(objects, settings)
        if settings.morphology.votes is not None:
            refuse_absent_votes(settings.morphology.votes, [objects])
        for earlier in self.before.values():
            earlier.check(objects.about, f"{objects.path}, beside {earlier.model_file}")
        if self.stein is not None:
            check_stein(self.stein, objects)
        subset = Subset(objects, modalities, test, reference)
        if self.baselines is not None:
            self.baselines.choose(subset)
        return subset

    def score(self, subset: Subset, folder: Path) -> tuple[ObjectScores, Illustration]:  # noqa: ARG002  # no parts
        """All scores of one dataset, and what the report draws."""
        return self.scoring.score(subset)

    def tables(self, datasets: Mapping[str, ObjectScores]) -> Sequence[Table]:
        """Properties, labels, retrieval and the rest, by dataset."""
        return overview(datasets)

    def write_report(
        self,
        scores: Scores[ObjectScores],
        subsets: Mapping[str, Subset],
        pictures: Mapping[str, Illustration],
        folder: Path,
    ) -> None:
        """Figures of properties, maps of vectors, and galleries of neighbours."""
        stores = {name: subset.store for name, subset in subsets.items()}
        write_report(scores, stores, pictures, folder, unaligned=self._compared, training=self.training(folder))

    def verdicts(self, datasets: Mapping[str, ObjectScores]) -> Mapping[str, Verdict]:
        """One sentence for each dataset: retrieval, the best and the worst property, photometry beside them."""
        return verdicts(datasets)

    def compared_with(self) -> Unaligned:
        """Names the checkpoints of the encoders before their alignment, of Stein et al.'s network, and of baselines."""
        return self._compared

    @cached_property
    def _compared(self) -> Unaligned:
        return Unaligned(
            unaligned={name: str(earlier.model_file) for name, earlier in self.before.items()},
            stein=None if self.stein is None else str(self.stein.model_file),
            baselines=None if self.baselines is None else self.baselines.describe(rows_are=self.rows_are),
        )
