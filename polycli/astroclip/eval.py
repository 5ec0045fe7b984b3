"""`polycli eval astroclip`: a checkpoint and stores to scores, figures and a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.loaded import LoadedAstroClip, load_checkpoint
from polycli.astroclip.model.specformer import token_count
from polycli.astroclip.recipe.settings import EvalSettings
from polycli.astroclip.recipe.training import MaskingSection
from polycli.astroclip.scoring.answers import head_answers
from polycli.astroclip.scoring.encode import Encoder, Modality, common_modalities
from polycli.astroclip.scoring.head_scores import HEAD, score_head
from polycli.astroclip.scoring.measure import (
    Side,
    has_photometry,
    label_names,
    property_names,
    r_magnitudes,
    score_geometry,
    score_properties,
    score_retrieval,
    simple_inputs,
)
from polycli.astroclip.scoring.reconstruction import Panel, fitting, score_reconstruction
from polycli.astroclip.scoring.report import Illustration, write_report
from polycli.astroclip.scoring.second_look import another_image, another_spectrum
from polycli.astroclip.scoring.tables import overview
from polycli.console import note, progress, rank, result, say, warn
from polycli.errors import CheckpointError, StoreError
from polycli.recipes import default_recipe
from polycli.recipes.documents import read_document
from polycli.report.bootstrap import Bootstrap
from polycli.report.folder import evaluation_folder, finite_json, write_scores
from polycli.report.table import as_text
from polycli.requests import EvalRequest, JsonDocument
from polycli.workflow.evaluated_stores import evaluated_stores, output_folder
from polycli.workflow.overlap import ScoredRows, check_overlap, warn_of_shared_validation

#: Objects that figures show as points.
_SHOWN = 2000


@dataclass(frozen=True)
class Subset:
    """The objects of one store that are scored, and those that probes learn from."""

    store: ObjectStore
    modalities: tuple[Modality, ...]
    test: NDArray[np.int64]
    reference: NDArray[np.int64]


def run(request: EvalRequest) -> JsonDocument | None:
    """Score a checkpoint on the objects of a split, beside photometry, features by hand and encoders not aligned.

    Raises:
        UserError: checkpoint, stores and settings do not fit each other, or the checkpoint was trained on what it
            would be tested on; nothing was written.
    """
    settings = default_recipe("astroclip", "eval", request.overrides, schema=EvalSettings)
    if rank() > 0:
        return None  # Scores are made by one process.
    loaded = load_checkpoint(request.checkpoint)
    opened = evaluated_stores(request.data, family="astroclip", model_file=loaded.model_file, run=loaded.run)
    stores = [ObjectStore(store) for store in opened]
    subsets = [_subset(store, loaded, request, settings) for store in stores]
    scored = [ScoredRows(subset.store.store, subset.test) for subset in subsets]
    seen = check_overlap(scored, loaded, rows_are="objects", allow=request.allow_overlap)
    warn_of_shared_validation(scored, loaded, request.split, rows_are="objects")
    before = unaligned_encoders(loaded, settings)
    for store, earlier in ((store, earlier) for store in stores for earlier in before.values()):
        earlier.check(store.about, f"{store.path}, beside {earlier.model_file}")
    output = output_folder(request, loaded.run)
    scores: JsonDocument = {
        "split": request.split,
        **loaded.provenance(),
        "store_hash": {subset.store.name: subset.store.manifest.store_hash for subset in subsets},
        "overlap": seen.document("objects"),
        "unaligned": {name: str(earlier.model_file) for name, earlier in before.items()},
        "settings": settings.model_dump(mode="json", exclude={"family", "verb"}),
        "datasets": {},
    }
    with evaluation_folder(output) as unfinished:
        pictures: dict[str, Illustration] = {}
        for subset in subsets:
            name = subset.store.name
            scores["datasets"][name], pictures[name] = score(loaded, before, subset, settings)
        scores = finite_json(scores)
        if settings.report:
            write_report(scores, {subset.store.name: subset.store for subset in subsets}, pictures, unfinished)
        write_scores(scores, unfinished)
    say(f"scores: {output / 'scores.json'}")
    if settings.report:
        say(f"report: {output / 'report.html'}")
    if not request.json:
        result("\n\n".join(as_text(table) for table in overview(scores["datasets"])))
    return scores


def unaligned_encoders(loaded: LoadedAstroClip, settings: EvalSettings) -> dict[Modality, LoadedAstroClip]:
    """The encoders before their alignment, by modality: those of the settings, else those that the run began from.

    Raises:
        CheckpointError: one cannot be read, or has no encoder of that modality, or the model itself has none.
    """
    given = settings.unaligned.model_dump()
    began: dict[str, Any] = {}
    if loaded.run is not None:
        began = read_document(loaded.run / "recipe.yaml").data.get("init") or {}
    found: dict[Modality, LoadedAstroClip] = {}
    sees: tuple[tuple[Modality, object], ...] = (("image", loaded.image), ("spectrum", loaded.spectrum))
    for name, reads in sees:
        if reads is None and given[name] is not None:
            raise CheckpointError(
                f"unaligned.{name}: {loaded.model_file} has no {name} encoder for {given[name]} to be compared with",
                hint=f"leave unaligned.{name} out",
            )
        if reads is None:
            continue
        path = given[name] or began.get(name)
        if path is None:
            continue
        if given[name] is None and not Path(path).exists():
            note(f"{path}: the run began from this {name} encoder, which is not there: not compared")
            continue
        found[name] = load_checkpoint(Path(path), quiet=True)
        if getattr(found[name], name) is None:
            raise CheckpointError(
                f"unaligned.{name}: {found[name].model_file} has no {name} encoder",
                hint=f"give a checkpoint of stage {name}",
            )
    return found


def score(
    loaded: LoadedAstroClip, before: Mapping[Modality, LoadedAstroClip], subset: Subset, settings: EvalSettings
) -> tuple[JsonDocument, Illustration]:
    """All scores of one dataset, and what the report draws."""
    bootstrap = Bootstrap(samples=settings.bootstrap_samples, seed=settings.seed)
    catalogue = has_photometry(subset.store, np.concatenate([subset.reference, subset.test]))
    reference = _side(loaded, before, subset, settings, subset.reference, catalogue=catalogue)
    test = _side(loaded, before, subset, settings, subset.test, catalogue=catalogue, again=True)
    aligned = len(subset.modalities) == 2 and loaded.model.section.heads is not None
    found, guesses = score_properties(subset.store, reference, test, settings, bootstrap)
    encoder = Encoder(loaded.model, subset.store, precision=settings.precision, batch_size=settings.batch_size)
    candidates = _first(test, settings.candidates)
    document: JsonDocument = {
        "objects": len(subset.test),
        "reference_objects": len(subset.reference),
        "modalities": list(subset.modalities),
        **found,
        "retrieval": score_retrieval(candidates, aligned=aligned, bootstrap=bootstrap),
        "geometry": score_geometry(test, aligned=aligned),
    }
    head = loaded.model.properties
    if head is not None and set(head.section.modalities) <= set(subset.modalities):
        with progress(len(subset.test), f"{subset.store.name}: the head's answers") as bar:
            answers = head_answers(encoder, subset.test, advance=bar.advance)
        document["head"], drawn = score_head(
            subset.store,
            subset.test,
            answers,
            head.section,
            bootstrap,
            brightness=r_magnitudes(subset.store, test),
        )
        for name, (truth, predicted) in drawn.items():
            guesses.truth[name] = truth
            guesses.predicted.setdefault(name, {})[HEAD] = predicted
    elif head is not None:
        sees = " and ".join(head.section.modalities)
        warn(f"{subset.store.name}: lacks what the model's head sees, {sees}: not scored")
    shown = _first(test, _SHOWN)
    panels: list[Panel] = []
    for kind, reconstructing in (("the model", loaded), ("the encoder before alignment", before.get("spectrum"))):
        masking = None if reconstructing is None else masking_of(reconstructing, settings)
        if reconstructing is None or masking is None or "spectrum" not in subset.modalities or panels:
            continue
        asked = Encoder(
            reconstructing.model, subset.store, precision=settings.precision, batch_size=settings.batch_size
        )
        with progress(len(shown.rows), f"{subset.store.name}: hidden stretches") as bar:
            found, panels = score_reconstruction(asked, shown.rows, masking, bootstrap, advance=bar.advance)
        document["reconstruction"] = {"by": kind, **found}
    vectors: dict[str, NDArray[np.float32]] = {name: shown.inputs[name] for name in subset.modalities}
    return document, Illustration(shown.rows, vectors, guesses, panels, aligned=aligned, seed=settings.seed)


def masking_of(loaded: LoadedAstroClip, settings: EvalSettings) -> MaskingSection | None:
    """What the training hid of spectra; None for models that reconstruct nothing, or no longer: they were aligned."""
    model = loaded.model.section
    if model.spectrum is None or loaded.spectrum is None or model.heads is not None or model.properties is not None:
        return None
    said = {} if loaded.run is None else read_document(loaded.run / "recipe.yaml").data.get("masking")
    masking = settings.masking or MaskingSection.model_validate(said or {})
    return fitting(masking, token_count(model.spectrum, loaded.spectrum.pixels))


def _side(
    loaded: LoadedAstroClip,
    before: Mapping[Modality, LoadedAstroClip],
    subset: Subset,
    settings: EvalSettings,
    rows: NDArray[np.int64],
    *,
    catalogue: bool,
    again: bool = False,
) -> Side:
    """Vectors and simple inputs of some rows."""
    inputs: dict[str, NDArray[Any]] = {}
    seen_again: dict[str, NDArray[np.float32]] = {}
    store, seed = subset.store, settings.seed

    def encoder(model: AstroClip) -> Encoder:
        return Encoder(model, store, precision=settings.precision, batch_size=settings.batch_size)

    passes = len(subset.modalities) * (2 if again else 1) + sum(name in before for name in subset.modalities)
    kind = "test" if again else "training"
    with progress(passes * len(rows), f"{store.name}: {kind} objects") as bar:
        for name in subset.modalities:
            inputs[name] = encoder(loaded.model).vectors(name, rows, advance=bar.advance)
            if name in before:
                inputs[f"{name}_unaligned"] = encoder(before[name].model).vectors(
                    name, rows, source="backbone", advance=bar.advance
                )
            if again and name == "image":
                seen_again[name] = encoder(loaded.model).vectors(
                    name, rows, look=lambda values, some: another_image(values, some, seed), advance=bar.advance
                )
            elif again:
                seen_again[name] = encoder(loaded.model).vectors(
                    name, rows, look=lambda values, some: another_spectrum(values, some, seed), advance=bar.advance
                )
    inputs |= simple_inputs(store, rows, encoder(loaded.model).batches(rows), catalogue=catalogue)
    return Side(rows, inputs, seen_again)


def _first(side: Side, count: int) -> Side:
    """The first `count` objects of a side."""
    return Side(
        side.rows[:count],
        {name: values[:count] for name, values in side.inputs.items()},
        {name: values[:count] for name, values in side.again.items()},
    )


def _subset(store: ObjectStore, loaded: LoadedAstroClip, request: EvalRequest, settings: EvalSettings) -> Subset:
    """The objects to score and to learn from, after everything that could stop it has been looked at."""
    modalities = common_modalities(loaded, store)
    test = store.rows(request.split)[: request.limit]
    if len(test) < 2:
        raise StoreError(
            f"{store.path}: {len(test)} objects are in the split {request.split}, at least 2 are needed; there are "
            f"{dict(store.manifest.splits)}",
            hint="choose another --split, or prepare the store from more objects",
        )
    reference = np.setdiff1d(store.rows("train"), test)
    if len(reference) > settings.reference_objects:
        chosen = np.random.default_rng(settings.seed).choice(len(reference), settings.reference_objects, replace=False)
        reference = reference[np.sort(chosen)]
    if len(reference) < 2:
        raise StoreError(
            f"{store.path}: {len(reference)} objects are left to learn from in the split train, at least 2 are needed",
            hint="evaluate another --split",
        )
    property_names(store, settings.properties)
    label_names(store, settings.labels)
    return Subset(store, modalities, test, reference)
