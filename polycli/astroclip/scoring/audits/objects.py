"""The objects of an audit: their target, magnitudes, nuisances and vectors, on the training and on the test side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.recipe.model import MODALITIES
from polycli.astroclip.scoring.audits.nuisances import Floats, Nuisance, read_nuisances
from polycli.astroclip.scoring.measure import Side
from polycli.astroclip.scoring.retrieval import Ranks, ranks
from polycli.report.probes import ProbeSettings, predict_targets

#: The name of the nuisance that every survey has.
MAGNITUDE = "magnitude"
#: Partners are found where they are among so many of the nearest.
NEAREST = 10


@dataclass(frozen=True)
class AuditedSide:
    """Objects of one side of which all that an audit needs is known."""

    rows: NDArray[np.int64]
    #: (n,).
    target: Floats
    #: Magnitudes first, where there are any.
    nuisances: Sequence[Nuisance]
    #: By modality: (n, d).
    vectors: Mapping[str, Floats]

    @property
    def magnitudes(self) -> Floats | None:
        """(n, bands); None where none are known."""
        first = next(iter(self.nuisances), None)
        return first.values if first is not None and first.name == MAGNITUDE else None

    @property
    def brightness(self) -> Floats:
        """(n,) the magnitude in the middle band; all zero where none are known."""
        found = self.magnitudes
        return np.zeros(len(self.rows)) if found is None else found[:, found.shape[1] // 2]


def audited_sides(
    store: ObjectStore, reference: Side, test: Side, *, target: str, columns: Sequence[str]
) -> tuple[AuditedSide, AuditedSide]:
    """Both sides, without the objects that lack the target, a magnitude or a nuisance."""
    rows = np.concatenate([reference.rows, test.rows])
    nuisances = read_nuisances(store, rows, columns)
    magnitudes = _magnitudes(reference, test)
    if magnitudes is not None:
        names = tuple(f"magnitude {index}" for index in range(1, magnitudes.shape[1] + 1))
        nuisances.insert(0, Nuisance(MAGNITUDE, names, magnitudes))
    values = store.target(target, rows)
    known = np.isfinite(values)
    for nuisance in nuisances:
        known &= np.isfinite(nuisance.values).all(axis=1)
    sides = []
    for side, start in ((reference, 0), (test, len(reference.rows))):
        here = np.arange(start, start + len(side.rows))
        kept = here[known[here]]
        sides.append(
            AuditedSide(
                rows[kept],
                values[kept],
                [nuisance.take(kept) for nuisance in nuisances],
                {
                    name: side.inputs[name][kept - start].astype(np.float64)
                    for name in MODALITIES
                    if name in side.inputs
                },
            )
        )
    return sides[0], sides[1]


def neighbours_say(reference: AuditedSide, test: AuditedSide, probes: ProbeSettings) -> dict[str, Floats]:
    """Predicts the target of test objects from the neighbours of their vectors, (n,) by modality."""
    return {
        name: predict_targets("knn", reference.vectors[name], reference.target, vectors, probes)
        for name, vectors in test.vectors.items()
    }


def ranks_across(vectors: Mapping[str, Floats], count: int) -> dict[str, Ranks]:
    """Ranks each object's partner among the first `count` objects, by direction; aligned vectors alone have any."""
    image, spectrum = (vectors[name][:count].astype(np.float32) for name in MODALITIES)
    return {"image_to_spectrum": ranks(image, spectrum), "spectrum_to_image": ranks(spectrum, image)}


def _magnitudes(reference: Side, test: Side) -> Floats | None:
    if "photometry" not in test.inputs or "photometry" not in reference.inputs:
        return None
    both = np.concatenate([reference.inputs["photometry"], test.inputs["photometry"]]).astype(np.float64)
    # Behind the magnitudes stand their differences from band to band.
    return np.asarray(both[:, : (both.shape[1] + 1) // 2])
