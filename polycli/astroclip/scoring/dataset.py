"""All scores of one dataset: properties, partners, geometry, a head's answers and hidden stretches of spectra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.model.loaded import LoadedAstroClip
from polycli.astroclip.recipe.model import Modality
from polycli.astroclip.recipe.settings import EvalSettings
from polycli.astroclip.recipe.votes import VotesSection
from polycli.astroclip.scoring.answers import Answers, head_answers
from polycli.astroclip.scoring.audits.attention import Attended, attended_images, attended_spectra, attention_scores
from polycli.astroclip.scoring.audits.attribution import (
    Attributed,
    line_redshifts,
    of_image,
    of_spectrum,
    ridge_answer,
    scored,
)
from polycli.astroclip.scoring.audits.measure import audit
from polycli.astroclip.scoring.comparisons.by_labels import Baselines
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.head_scores import HEAD, score_head
from polycli.astroclip.scoring.kinds import alike_sentence
from polycli.astroclip.scoring.measure import (
    Guesses,
    Side,
    has_photometry,
    r_magnitudes,
    score_geometry,
    score_properties,
    score_retrieval,
)
from polycli.astroclip.scoring.morphology.comparison import Comparison
from polycli.astroclip.scoring.morphology.measure import score_morphology
from polycli.astroclip.scoring.posteriors.calibrated import intervals_of
from polycli.astroclip.scoring.posteriors.distributions import levels_of
from polycli.astroclip.scoring.reconstruction import Panel, score_reconstruction
from polycli.astroclip.scoring.redshifts.as_predicted import redshift_as_predicted
from polycli.astroclip.scoring.redshifts.by_neighbours import redshift_by_neighbours
from polycli.astroclip.scoring.redshifts.templates import Curves, curves_of, template_scores
from polycli.astroclip.scoring.report import Illustration
from polycli.astroclip.scoring.score_records import HeadScores, ObjectScores, ReconstructionScores
from polycli.astroclip.scoring.sides import Subset, side_of
from polycli.astroclip.scoring.unaligned import masking_of
from polycli.console import progress, warn
from polycli.report.bootstrap import Bootstrap

#: Objects that figures show as points.
_SHOWN = 2000


@dataclass(frozen=True)
class Scoring:
    """A model, the encoders before its alignment by modality, and the settings that all datasets are scored with."""

    loaded: LoadedAstroClip
    before: Mapping[Modality, LoadedAstroClip]
    settings: EvalSettings
    #: The published network of Stein et al., where it was asked for.
    stein: LoadedAstroClip | None = None
    #: The runs of `--baseline`, where there are any.
    baselines: Baselines | None = None

    def score(self, subset: Subset) -> tuple[ObjectScores, Illustration]:
        """All scores of one dataset, and what the report draws."""
        store, settings, bootstrap = subset.store, self.settings, self._bootstrap
        catalogue = has_photometry(store, np.concatenate([subset.reference, subset.test]))
        side = partial(side_of, self.loaded, self.before, subset, settings, catalogue=catalogue, stein=self.stein)
        reference, test = side(subset.reference), side(subset.test, again=True)
        aligned = len(subset.modalities) == 2 and self.loaded.model.section.heads is not None
        read, guesses = score_properties(store, reference, test, settings, bootstrap)
        answers = self._answers(subset)
        comparison = Comparison(store, reference, test, settings, bootstrap)
        shown = test.first(_SHOWN)
        reconstruction, panels = self._reconstruction(subset, shown.rows)
        redshift = store.target("redshift", reference.rows), store.target("redshift", test.rows)
        templates = template_scores(reference, test, redshift, bootstrap)
        curves: Curves | None = None
        if templates is not None and settings.report:
            curves = curves_of(Encoder.of(self.loaded, subset.store, self.settings), shown.rows, templates.constant)
        by_neighbours = redshift_by_neighbours(reference, test, redshift, settings.neighbour_counts, bootstrap)
        as_predicted = redshift_as_predicted(
            reference, test, redshift, modalities=subset.modalities, count=settings.neighbours, bootstrap=bootstrap
        )
        if settings.neighbour_counts and not by_neighbours:
            warn(
                f"{store.name}: neighbour_counts scores redshifts, and fewer than two are known to learn from or to ask"
            )
        audited = audit(store, reference, test, settings, bootstrap, aligned=aligned)
        attributed = {} if audited is None else self._attribution(subset, reference, test)
        attended = self._attention(subset) if settings.audit.run else {}
        scores = ObjectScores(
            objects=len(subset.test),
            reference_objects=len(subset.reference),
            modalities=list(subset.modalities),
            read=read,
            retrieval=score_retrieval(test.first(settings.candidates), aligned=aligned, bootstrap=bootstrap),
            geometry=score_geometry(test, aligned=aligned),
            head=None if answers is None else self._head(subset, test, answers, guesses),
            baselines=None if self.baselines is None else self.baselines.scores(subset, test, bootstrap),
            reconstruction=reconstruction,
            audit=audited,
            neighbours=as_predicted or None,
            by_neighbours=by_neighbours or None,
            templates=templates,
            attribution=scored(attributed, bootstrap) or None,
            attention=attention_scores(attended, bootstrap) or None,
            morphology=score_morphology(comparison, self._questions, answers),
        )
        for name in scores.geometry.constant or ():
            warn(f"{store.name}: {alike_sentence(name, len(subset.test))}")
        for sentence in () if scores.audit is None else scores.audit.verdicts:
            warn(f"{store.name}: {sentence}")
        vectors: dict[str, NDArray[np.float32]] = {name: shown.inputs[name] for name in subset.modalities}
        return scores, Illustration(
            shown.rows, vectors, guesses, panels, attributed, attended, curves, aligned=aligned, seed=settings.seed
        )

    def _answers(self, subset: Subset) -> Answers | None:
        """Asks the head that finetuning added about the test objects; None where there is none, or it cannot see."""
        head = self.loaded.model.properties
        if head is None:
            return None
        if not set(head.section.modalities) <= set(subset.modalities):
            sees = " and ".join(head.section.modalities)
            warn(f"{subset.store.name}: lacks what the model's head sees, {sees}: not scored")
            return None
        with progress(len(subset.test), f"{subset.store.name}: the head's answers") as bar:
            encoder = Encoder.of(self.loaded, subset.store, self.settings)
            return head_answers(encoder, subset.test, levels=levels_of(head.section), advance=bar.advance)

    def _head(self, subset: Subset, test: Side, answers: Answers, guesses: Guesses) -> HeadScores:
        """Scores of the head's answers, which join the guesses that figures show."""
        section = self.loaded.model.property_head().section
        brightness = r_magnitudes(subset.store, test)
        scores, drawn = score_head(
            subset.store,
            subset.test,
            answers,
            section,
            self._bootstrap,
            brightness=brightness,
            intervals=intervals_of(self.loaded, self.settings.bands),
        )
        for name, (truth, predicted) in drawn.items():
            guesses.truth[name] = truth
            guesses.predicted.setdefault(name, {})[HEAD] = predicted
        return scores

    def _reconstruction(
        self, subset: Subset, rows: NDArray[np.int64]
    ) -> tuple[ReconstructionScores | None, list[Panel]]:
        """How well hidden stretches are filled in by the model or, once it is aligned, by the encoder before that."""
        candidates = {"the model": self.loaded, "the encoder before alignment": self.before.get("spectrum")}
        spectrum = subset.store.about.spectrum
        if spectrum is None or "spectrum" not in subset.modalities:
            return None, []
        for kind, loaded in candidates.items():
            masking = None if loaded is None else masking_of(loaded, self.settings, spectrum.pixels)
            if loaded is None or masking is None:
                continue
            with progress(len(rows), f"{subset.store.name}: hidden stretches") as bar:
                scores, panels = score_reconstruction(
                    Encoder.of(loaded, subset.store, self.settings), rows, masking, self._bootstrap, advance=bar.advance
                )
            return ReconstructionScores(by=kind, scores=scores), panels
        return None, []

    def _attribution(self, subset: Subset, reference: Side, test: Side) -> dict[str, list[Attributed]]:
        """Hides parts of the first test objects and returns what moves the answers about them, by modality."""
        store, target = subset.store, self.settings.audit.target
        truth = store.target(target, reference.rows)
        rows = test.rows[: self.settings.audit.occluded]
        redshifts = line_redshifts(store, rows)
        encoder, found = Encoder.of(self.loaded, subset.store, self.settings), dict[str, list[Attributed]]()
        with progress(len(rows) * len(subset.modalities), f"{store.name}: hidden parts") as bar:
            for name in subset.modalities if len(rows) else ():
                known = np.isfinite(truth)
                answer = ridge_answer(reference.inputs[name][known].astype(np.float64), truth[known])
                found[name] = []
                for row, redshift in zip(rows.tolist(), redshifts.tolist(), strict=True):
                    if name == "spectrum":
                        found[name].append(of_spectrum(encoder, row, answer, redshift))
                    else:
                        found[name].append(of_image(encoder, row, answer, self._image_size(subset)))
                    bar.advance(1)
        return found

    def _attention(self, subset: Subset) -> dict[str, list[Attended]]:
        """The attention of the heads on the first test objects, by modality; of those heads alone that have one."""
        rows = subset.test[: self.settings.audit.attended]
        encoder, found = Encoder.of(self.loaded, subset.store, self.settings), dict[str, list[Attended]]()
        if "image" in subset.modalities:
            found["image"] = attended_images(encoder, rows)
        if "spectrum" in subset.modalities:
            found["spectrum"] = attended_spectra(encoder, rows, line_redshifts(subset.store, rows))
        return {name: objects for name, objects in found.items() if objects}

    def _image_size(self, subset: Subset) -> int:
        """Pixels along a side of what the model sees of a cutout."""
        section, image = self.loaded.model.section.image, subset.store.about.image
        return section.size if section is not None else min(image.size) if image is not None else 0

    @property
    def _questions(self) -> VotesSection | None:
        """The questions that the model's head has learnt votes on, else those that the settings name."""
        head = self.loaded.model.properties
        learnt = None if head is None else head.section.votes
        return learnt or self.settings.morphology.votes

    @property
    def _bootstrap(self) -> Bootstrap:
        return Bootstrap(samples=self.settings.bootstrap_samples, seed=self.settings.seed)
