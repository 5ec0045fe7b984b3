"""The records of AstroCLIP's scores.json: what is said of the objects of one dataset.

Properties are in the units of the catalogue where nothing else is said; errors of redshifts are
(z - z_true) / (1 + z_true). A number is None where it is not finite. Intervals are 95 % bootstrap intervals over
objects: low and high.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polycli.astroclip.scoring.audits.records import AttentionScores, AttributionScores, AuditScores
from polycli.astroclip.scoring.morphology.records import MorphologyScores
from polycli.astroclip.scoring.posteriors.records import Coverage, PosteriorScores
from polycli.astroclip.scoring.redshifts.records import NeighbourScores, TemplateScores
from polycli.astroclip.scoring.retrieval import RetrievalScores
from polycli.json_records import IF_GIVEN, INLINE, JsonObject
from polycli.report.probes import Accuracy, Bounds, Fit
from polycli.report.scores import BaselineOrigin


@dataclass(frozen=True, kw_only=True)
class RedshiftErrors:
    """Bias, scatter and outliers of redshifts."""

    objects: int
    bias: float | None
    bias_interval: Bounds
    sigma_nmad: float | None
    #: The share of errors beyond 0.15.
    outlier_fraction: float
    outlier_interval: Bounds


@dataclass(frozen=True, kw_only=True)
class MagnitudeBin:
    """Redshifts of the objects of some magnitudes."""

    #: The brightest and the faintest, r in mag AB.
    magnitude: Bounds
    errors: RedshiftErrors = field(metadata=INLINE)


@dataclass(frozen=True, kw_only=True)
class RedshiftScores:
    """Redshifts that were predicted in one way."""

    errors: RedshiftErrors = field(metadata=INLINE)
    #: The brightest first, with equal numbers of objects; absent where no magnitudes are known.
    by_magnitude: Sequence[MagnitudeBin] | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class LabelScores:
    """A column of classes, voted on by neighbours."""

    classes: Sequence[str]
    #: By input.
    accuracy: Mapping[str, Accuracy]


@dataclass(frozen=True, kw_only=True)
class PropertyScores:
    """Everything that is read off vectors and simple inputs by probes."""

    #: By column, input (`image`, `spectrum`, `photometry`, ...) and probe (`knn`, `mlp`, `boosting`).
    properties: Mapping[str, Mapping[str, Mapping[str, Fit]]]
    #: By input and probe.
    redshift: Mapping[str, Mapping[str, RedshiftScores]]
    #: By column.
    labels: Mapping[str, LabelScores]


@dataclass(frozen=True, kw_only=True)
class GeometryScores:
    """The places of vectors on their sphere."""

    #: By modality the log of the mean of exp(-2 d^2) over pairs; lower is more even.
    uniformity: Mapping[str, float | None]
    #: The mean squared distance of the two vectors of an object, 0 to 4; absent where they are not aligned.
    alignment: float | None = field(default=None, metadata=IF_GIVEN)
    #: Modalities whose vectors are all but equal; absent where all vary.
    constant: Sequence[str] | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class HeadColumn:
    """A column of numbers that the model's own head predicts."""

    fit: Fit = field(metadata=INLINE)
    #: By quantile the share of objects whose true value lies below it.
    below: Mapping[str, float]
    #: Absent where the head predicts a mean alone.
    posterior: PosteriorScores | None = field(default=None, metadata=IF_GIVEN)
    #: What calibrated intervals hold; absent without a calibration.
    calibrated: Coverage | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class HeadScores:
    """The answers of the head that finetuning added."""

    modalities: Sequence[str]
    #: By column.
    properties: Mapping[str, HeadColumn]
    #: None where the head predicts no redshift.
    redshift: RedshiftScores | None
    labels: Mapping[str, Accuracy]


@dataclass(frozen=True, kw_only=True)
class HiddenScores:
    """How well hidden stretches of spectra are filled in."""

    spectra: int
    #: The share of a spectrum's tokens that is hidden.
    hidden: float
    #: By answer the mean squared error, in units of each spectrum's variance; `noise` is that of a perfect answer.
    error: Mapping[str, float | None]
    interval: Mapping[str, Bounds]
    #: How stretches were hidden, as the recipe's section `masking`.
    masking: JsonObject


@dataclass(frozen=True, kw_only=True)
class ReconstructionScores:
    """The same, and whose the model's answers are."""

    #: `the model` or `the encoder before alignment`.
    by: str
    scores: HiddenScores = field(metadata=INLINE)


@dataclass(frozen=True, kw_only=True)
class ObjectScores:
    """The scores of one dataset."""

    #: How many were scored, and how many were learnt from.
    objects: int
    reference_objects: int
    modalities: Sequence[str]
    read: PropertyScores = field(metadata=INLINE)
    #: By direction, such as `image_to_spectrum`.
    retrieval: Mapping[str, RetrievalScores]
    geometry: GeometryScores
    #: Absent where the model has no head, or the store not what it sees.
    head: HeadScores | None = field(default=None, metadata=IF_GIVEN)
    #: Answers of the runs of `--baseline`, by label, of the columns that are scored; absent without.
    baselines: Mapping[str, HeadScores] | None = field(default=None, metadata=IF_GIVEN)
    #: Absent where nothing is reconstructed.
    reconstruction: ReconstructionScores | None = field(default=None, metadata=IF_GIVEN)
    #: Absent where none was asked for, or objects are few.
    audit: AuditScores | None = field(default=None, metadata=IF_GIVEN)
    #: Redshifts as `predict` makes them without a head, by what is searched; absent where fewer than two are known.
    neighbours: Mapping[str, NeighbourScores] | None = field(default=None, metadata=IF_GIVEN)
    #: Redshifts by input, number of neighbours and weights; absent where `neighbour_counts` names none.
    by_neighbours: Mapping[str, Mapping[str, Mapping[str, NeighbourScores]]] | None = field(
        default=None, metadata=IF_GIVEN
    )
    #: Redshifts by the shift of templates; absent where the spectrum encoder has none.
    templates: TemplateScores | None = field(default=None, metadata=IF_GIVEN)
    #: By modality; absent with the audit, or where nobody knows what should matter.
    attribution: Mapping[str, AttributionScores] | None = field(default=None, metadata=IF_GIVEN)
    #: By modality; absent where the model has no heads with attention, or nobody knows what should matter.
    attention: Mapping[str, AttentionScores] | None = field(default=None, metadata=IF_GIVEN)
    #: Absent where there are neither votes nor classes.
    morphology: MorphologyScores | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class Unaligned:
    """The encoders before their alignment, which the model is compared with: the file of weights by modality."""

    unaligned: Mapping[str, str]
    #: The file of Stein et al.'s network; absent where it was not asked for.
    stein: str | None = field(default=None, metadata=IF_GIVEN)
    #: By label the runs of `--baseline`; absent without.
    baselines: Mapping[str, BaselineOrigin] | None = field(default=None, metadata=IF_GIVEN)
