"""`polycli eval astroclip`: a checkpoint and stores to scores, figures and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.loaded import LoadedAstroClip, load_for
from polycli.astroclip.recipe.settings import EvalSettings
from polycli.astroclip.scoring.answers import head_answers
from polycli.astroclip.scoring.encode import Encoder, Modality, common_modalities
from polycli.astroclip.scoring.head_scores import HEAD, score_head
from polycli.astroclip.scoring.measure import (
    Guesses,
    Side,
    has_photometry,
    label_names,
    property_names,
    r_magnitudes,
    score_geometry,
    score_properties,
    score_retrieval,
)
from polycli.astroclip.scoring.reconstruction import Panel, score_reconstruction
from polycli.astroclip.scoring.report import Illustration, write_report
from polycli.astroclip.scoring.sides import Subset, side_of
from polycli.astroclip.scoring.tables import overview
from polycli.astroclip.scoring.unaligned import masking_of, unaligned_encoders
from polycli.console import progress, rank, warn
from polycli.errors import StoreError
from polycli.recipes import default_recipe
from polycli.report.bootstrap import Bootstrap
from polycli.report.table import Table
from polycli.requests import EvalRequest, JsonDocument
from polycli.store.reader import Store
from polycli.workflow.evaluate import Evaluation

#: Objects that figures show as points.
_SHOWN = 2000


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
    return ObjectEvaluation(loaded, settings, request, unaligned_encoders(loaded, settings)).run(report=settings.report)


class ObjectEvaluation(Evaluation[LoadedAstroClip, EvalSettings, Subset, Illustration]):
    """Scores the vectors of objects: properties, partners and, for spectra, hidden stretches."""

    family = "astroclip"
    rows_are = "objects"

    def __init__(
        self,
        loaded: LoadedAstroClip,
        settings: EvalSettings,
        request: EvalRequest,
        before: Mapping[Modality, LoadedAstroClip],
    ) -> None:
        """`before`: by modality, the encoders before their alignment."""
        super().__init__(loaded, settings, request)
        self.before = before
        self.bootstrap = Bootstrap(samples=settings.bootstrap_samples, seed=settings.seed)

    def choose(self, store: Store) -> Subset:
        """The objects to score and to learn from."""
        objects, split, settings = ObjectStore(store), self.request.split, self.settings
        modalities = common_modalities(self.loaded, objects)
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
        for earlier in self.before.values():
            earlier.check(objects.about, f"{objects.path}, beside {earlier.model_file}")
        return Subset(objects, modalities, test, reference)

    def score(self, subset: Subset, folder: Path) -> tuple[JsonDocument, Illustration]:  # noqa: ARG002  # no parts
        """All scores of one dataset, and what the report draws."""
        store, settings, bootstrap = subset.store, self.settings, self.bootstrap
        catalogue = has_photometry(store, np.concatenate([subset.reference, subset.test]))
        reference = side_of(self.loaded, self.before, subset, settings, subset.reference, catalogue=catalogue)
        test = side_of(self.loaded, self.before, subset, settings, subset.test, catalogue=catalogue, again=True)
        aligned = len(subset.modalities) == 2 and self.loaded.model.section.heads is not None
        found, guesses = score_properties(store, reference, test, settings, bootstrap)
        shown = test.first(_SHOWN)
        reconstruction, panels = self._reconstruction(subset, shown.rows)
        document: JsonDocument = {
            "objects": len(subset.test),
            "reference_objects": len(subset.reference),
            "modalities": list(subset.modalities),
            **found,
            "retrieval": score_retrieval(test.first(settings.candidates), aligned=aligned, bootstrap=bootstrap),
            "geometry": score_geometry(test, aligned=aligned),
            **self._head(subset, test, guesses),
            **reconstruction,
        }
        vectors: dict[str, NDArray[np.float32]] = {name: shown.inputs[name] for name in subset.modalities}
        return document, Illustration(shown.rows, vectors, guesses, panels, aligned=aligned, seed=settings.seed)

    def tables(self, datasets: JsonDocument) -> Sequence[Table]:
        """Properties, labels, retrieval and the rest, by dataset."""
        return overview(datasets)

    def write_report(
        self, scores: JsonDocument, subsets: Mapping[str, Subset], pictures: Mapping[str, Illustration], folder: Path
    ) -> None:
        """Figures of properties, maps of vectors, and galleries of neighbours."""
        write_report(scores, {name: subset.store for name, subset in subsets.items()}, pictures, folder)

    def compared_with(self) -> JsonDocument:
        """The encoders before their alignment."""
        return {"unaligned": {name: str(earlier.model_file) for name, earlier in self.before.items()}}

    def _head(self, subset: Subset, test: Side, guesses: Guesses) -> JsonDocument:
        """Scores of the head that finetuning added, if it did; its answers join the guesses that figures show."""
        head = self.loaded.model.properties
        if head is None:
            return {}
        if not set(head.section.modalities) <= set(subset.modalities):
            sees = " and ".join(head.section.modalities)
            warn(f"{subset.store.name}: lacks what the model's head sees, {sees}: not scored")
            return {}
        with progress(len(subset.test), f"{subset.store.name}: the head's answers") as bar:
            answers = head_answers(self._encoder(self.loaded, subset), subset.test, advance=bar.advance)
        brightness = r_magnitudes(subset.store, test)
        found, drawn = score_head(
            subset.store, subset.test, answers, head.section, self.bootstrap, brightness=brightness
        )
        for name, (truth, predicted) in drawn.items():
            guesses.truth[name] = truth
            guesses.predicted.setdefault(name, {})[HEAD] = predicted
        return {"head": found}

    def _reconstruction(self, subset: Subset, rows: NDArray[np.int64]) -> tuple[JsonDocument, list[Panel]]:
        """How well hidden stretches are filled in by the model or, once it is aligned, by the encoder before that."""
        candidates = {"the model": self.loaded, "the encoder before alignment": self.before.get("spectrum")}
        for kind, loaded in candidates.items():
            masking = None if loaded is None else masking_of(loaded, self.settings)
            if loaded is None or masking is None or "spectrum" not in subset.modalities:
                continue
            with progress(len(rows), f"{subset.store.name}: hidden stretches") as bar:
                found, panels = score_reconstruction(
                    self._encoder(loaded, subset), rows, masking, self.bootstrap, advance=bar.advance
                )
            return {"reconstruction": {"by": kind, **found}}, panels
        return {}, []

    def _encoder(self, loaded: LoadedAstroClip, subset: Subset) -> Encoder:
        settings = self.settings
        return Encoder(loaded.model, subset.store, precision=settings.precision, batch_size=settings.batch_size)
