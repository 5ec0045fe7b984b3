"""The records of audits in AstroCLIP's scores.json.

R2 are of test objects, learnt from training objects. A p-value is the share of permutations that do as well, the
data as they are among them, so that 1 / (permutations + 1) is the smallest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polycli.astroclip.scoring.retrieval import Recall
from polycli.json_records import IF_GIVEN
from polycli.report.probes import Bounds, Fit


@dataclass(frozen=True, kw_only=True)
class Told:
    """How well vectors tell the columns of a nuisance, by a line."""

    #: By column.
    columns: Mapping[str, Fit]
    #: Of the best correlation among the columns.
    p: float


@dataclass(frozen=True, kw_only=True)
class WithoutNuisance:
    """The score of vectors of one modality before and after a nuisance is regressed out."""

    #: R2 of the target by neighbours, from the vectors as they are and from what the nuisance leaves of them.
    whole: Fit
    left: Fit
    #: The share of what the nuisance alone does not explain of the target that the vectors do explain.
    partial: Fit


@dataclass(frozen=True, kw_only=True)
class NuisanceAudit:
    """One nuisance: a group of columns, such as the seeing in all bands."""

    columns: Sequence[str]
    #: R2 of the target by boosted trees from these columns alone.
    alone: Fit
    #: The share of what magnitudes leave of the target that the columns explain; absent for magnitudes themselves.
    beyond_magnitude: float | None = field(default=None, metadata=IF_GIVEN)
    p: float | None = field(default=None, metadata=IF_GIVEN)
    #: By modality.
    told: Mapping[str, Told]
    without: Mapping[str, WithoutNuisance]
    #: By direction, of vectors from which the nuisance was regressed out.
    retrieval: Mapping[str, Recall]
    #: Modalities that have the leak.
    leaks: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class PermutedLabels:
    """The score of neighbours whose labels were permuted within bins of magnitude: a pipeline without leak has none."""

    #: The mean over permutations, and the R2 that the bins alone reach, which it must not exceed.
    r2: float
    bins: float
    holds: bool


@dataclass(frozen=True, kw_only=True)
class ShuffledPairs:
    """Recall where each object's partner is another one's, which must be chance."""

    recall: Recall
    #: Of at least so many hits, by the binomial distribution.
    p: float
    holds: bool


@dataclass(frozen=True, kw_only=True)
class Controls:
    """Scores that must vanish."""

    #: By modality.
    permuted_labels: Mapping[str, PermutedLabels]
    #: By direction.
    shuffled_pairs: Mapping[str, ShuffledPairs]


@dataclass(frozen=True, kw_only=True)
class GroupScores:
    """The scores of the test objects of one group."""

    objects: int
    #: By modality: R2 of the target by neighbours.
    fit: Mapping[str, Fit]
    #: By direction, among all candidates.
    retrieval: Mapping[str, Recall]


@dataclass(frozen=True, kw_only=True)
class AuditScores:
    """The audits of one dataset."""

    target: str
    #: Objects behind the tests of leaks, and of these those that are scored.
    objects: int
    test_objects: int
    permutations: int
    seed: int
    #: The share of clean surveys in which a leak is found.
    level: float
    #: Sentences about what was found; none where nothing was.
    verdicts: Sequence[str]
    #: By name: `magnitude`, each group of columns, and `all` of them.
    nuisances: Mapping[str, NuisanceAudit]
    controls: Controls
    #: By what divides the objects, and group.
    shift: Mapping[str, Mapping[str, GroupScores]]


@dataclass(frozen=True, kw_only=True)
class AttributionScores:
    """The share of attribution by occlusion that falls on spectral lines, or on the galaxy."""

    objects: int
    share: float
    interval: Bounds
    #: The share of stretches or patches that have a line, or are the galaxy's.
    chance: float


@dataclass(frozen=True, kw_only=True)
class AttentionScores:
    """The share of a pooling head's attention that falls on spectral lines, or on the galaxy."""

    objects: int
    #: Of the attention on pieces or patches.
    share: float
    interval: Bounds
    #: The share of the wavelengths, or of the patches, that have a line or are the galaxy's.
    chance: float
    #: The share of all attention on tokens without a place: mean and deviation, templates, the class token.
    elsewhere: float
