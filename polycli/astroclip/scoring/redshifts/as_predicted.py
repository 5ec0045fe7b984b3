"""Redshifts as `predict` makes them without a head: by neighbours of unit vectors, where probes standardise theirs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polycli.astroclip.scoring.measure import Side
from polycli.astroclip.scoring.neighbours import Neighbours, side_by_side
from polycli.astroclip.scoring.redshifts.by_neighbours import scores_of
from polycli.astroclip.scoring.redshifts.records import NeighbourScores
from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import Floats

#: What `predict` calls the vectors of both kinds, side by side.
BOTH = "both"


def redshift_as_predicted(
    reference: Side,
    test: Side,
    known: tuple[Floats, Floats],
    *,
    modalities: Sequence[str],
    count: int,
    bootstrap: Bootstrap,
) -> dict[str, NeighbourScores]:
    """Scores by what neighbours are searched by (`image`, `spectrum`, `both`), as `predict` names it.

    `known`: the redshifts of the reference and of the test objects, NaN where nobody knows them.
    """
    learn, judge = np.isfinite(known[0]), np.isfinite(known[1])
    if min(learn.sum(), judge.sum()) < 2:
        return {}
    searched = {name: [name] for name in modalities}
    if len(modalities) > 1:
        searched[BOTH] = list(modalities)
    found: dict[str, NeighbourScores] = {}
    for name, kinds in searched.items():
        labelled = side_by_side([reference.inputs[kind][learn] for kind in kinds])
        asked = side_by_side([test.inputs[kind][judge] for kind in kinds])
        answer = Neighbours(labelled, count).answer(asked, known[0][learn], (0.5,))
        found[name] = scores_of(known[1][judge], answer.mean, bootstrap)
    return found
