"""Runs that learnt from labels, named by `--baseline`: their answers stand beside the model's, on the same objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.loaded import LoadedAstroClip, load_checkpoint
from polycli.astroclip.recipe.model import PropertySection
from polycli.astroclip.recipe.settings import EvalSettings
from polycli.astroclip.scoring.answers import head_answers
from polycli.astroclip.scoring.encode import Encoder, common_modalities
from polycli.astroclip.scoring.head_scores import score_head
from polycli.astroclip.scoring.measure import Side, label_names, property_names, r_magnitudes
from polycli.astroclip.scoring.posteriors.distributions import levels_of
from polycli.astroclip.scoring.score_records import HeadScores
from polycli.astroclip.scoring.sides import Subset
from polycli.console import note, progress
from polycli.errors import StoreError, UserError
from polycli.report.bootstrap import Bootstrap
from polycli.report.scores import BaselineOrigin
from polycli.requests import EvalRequest
from polycli.workflow.loaded import labels_of
from polycli.workflow.overlap import baseline_origins

#: Recipes that train such a run, by what it sees.
RECIPES = {"image": "astroclip_supervised_image", "spectrum": "astroclip_supervised_spectrum"}


@dataclass(frozen=True)
class ByLabels:
    """A finetuned checkpoint, and the name that it has in tables: its run's, or its file's."""

    label: str
    loaded: LoadedAstroClip
    section: PropertySection


class Baselines:
    """All checkpoints of `--baseline`, and by dataset those that are scored on it."""

    def __init__(self, loaded: LoadedAstroClip, settings: EvalSettings, request: EvalRequest) -> None:
        """Load them.

        Raises:
            UserError: one has no head, or is the checkpoint itself.
            CheckpointError: one cannot be loaded.
        """
        self._settings, self._request = settings, request
        allow = settings.allow_untrained
        others = [load_checkpoint(path, quiet=True, allow_untrained=allow) for path in request.baselines]
        labels = labels_of([loaded, *others])[1:]
        self._all: list[ByLabels] = []
        for path, label, other in zip(request.baselines, labels, others, strict=True):
            if other.model.properties is None:
                raise UserError(
                    f"baseline {path}: it predicts no columns to compare, as it has no head that finetuning adds",
                    hint=f"train one: polycli finetune astroclip --recipe {RECIPES['image']} --data STORE",
                )
            self._all.append(ByLabels(label, other, other.model.properties.section))
        self._columns: dict[str, dict[str, PropertySection]] = {}
        self._subsets: list[Subset] = []

    def choose(self, subset: Subset) -> None:
        """Decide who is scored on a store; who cannot see its objects is named.

        Raises:
            StoreError: one was trained on other bands, wavelengths or units, or predicts none of the scored columns.
        """
        store = subset.store
        self._subsets.append(subset)
        scored = {*property_names(store, self._settings.properties), *label_names(store, self._settings.labels)}
        chosen = self._columns.setdefault(store.name, {})
        for baseline in self._all:
            there = [kind for kind in baseline.section.modalities if getattr(store.about, kind) is not None]
            if len(there) < len(baseline.section.modalities):
                sees = " and ".join(baseline.section.modalities)
                note(f"baseline {baseline.label} is not scored on {store.name}, which lacks what it sees: {sees}")
                continue
            try:
                common_modalities(baseline.loaded, store)
                baseline.loaded.check_units(store.units, str(store.path))
            except StoreError as error:
                raise StoreError(f"baseline {baseline.label}: {error.message}", hint=error.hint) from error
            chosen[baseline.label] = _among(baseline, scored, store)

    def describe(self, *, rows_are: str) -> Mapping[str, BaselineOrigin]:
        """Returns where they come from, after a check that none was trained on what is scored.

        Raises:
            StoreError: one was, and `--allow-overlap` was not given.
            UserError: one can be scored nowhere.
        """
        scored = {
            baseline.label: [part.scored for part in self._subsets if baseline.label in self._columns[part.store.name]]
            for baseline in self._all
        }
        found = {baseline.label: (baseline.loaded, scored[baseline.label]) for baseline in self._all}
        return baseline_origins(found, [*self._columns], rows_are=rows_are, allow=self._request.allow_overlap)

    def scores(self, subset: Subset, test: Side, bootstrap: Bootstrap) -> dict[str, HeadScores]:
        """Scores by label of the test objects whose value is known, as the model's own probes are scored."""
        found: dict[str, HeadScores] = {}
        brightness = r_magnitudes(subset.store, test)
        for baseline in self._all:
            section = self._columns[subset.store.name].get(baseline.label)
            if section is None:
                continue
            with progress(len(subset.test), f"{subset.store.name}: answers of baseline {baseline.label}") as bar:
                encoder = Encoder.of(baseline.loaded, subset.store, self._settings)
                answers = head_answers(encoder, subset.test, levels=levels_of(section), advance=bar.advance)
            found[baseline.label], _ = score_head(
                subset.store, subset.test, answers, section, bootstrap, brightness=brightness
            )
        return found


def say_how(loaded: LoadedAstroClip) -> None:
    """Says in one line how supervised networks get rows, where none was given; nothing of finetuned checkpoints."""
    if loaded.model.properties is None:
        recipes = " or ".join(RECIPES[kind] for kind in RECIPES if getattr(loaded, kind) is not None)
        note(
            "no supervised network is beside the model: --baseline RUN puts one there, of polycli finetune astroclip "
            f"--recipe {recipes} --data STORE --output RUN"
        )


def _among(baseline: ByLabels, scored: set[str], store: ObjectStore) -> PropertySection:
    """Returns the head's section with those columns alone that are scored.

    Raises:
        StoreError: there are none.
    """
    numbers = tuple(name for name in baseline.section.regression if name in scored)
    classes = {name: known for name, known in baseline.section.classification.items() if name in scored}
    if not numbers and not classes:
        predicts = ", ".join((*baseline.section.regression, *baseline.section.classification)) or "votes alone"
        raise StoreError(
            f"baseline {baseline.label}: it predicts {predicts}, and of {store.path} are scored "
            f"{', '.join(sorted(scored)) or 'no columns'}",
            hint="train it on these columns with --set model.properties.regression=[...], or leave it out",
        )
    return baseline.section.model_copy(update={"regression": numbers, "classification": classes, "votes": None})
