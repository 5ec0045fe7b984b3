"""Scores by group of objects: north and south of the survey, and thirds of seeing, depth and other nuisances.

Groups may well differ without any fault: what is seen through more noise is known less well. So nothing is found
here; the table says by how much.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.scoring.audits.nuisances import Floats
from polycli.astroclip.scoring.audits.objects import MAGNITUDE, NEAREST, AuditedSide, ranks_across
from polycli.astroclip.scoring.audits.records import GroupScores
from polycli.astroclip.scoring.retrieval import Ranks, Recall, recall_within
from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import r2_score

#: The Legacy Surveys' northern part was seen by other telescopes: north of this declination and of the galactic plane.
_NORTH = 32.375
#: Groups of fewer objects have intervals that say nothing.
_FEWEST = 10
_THIRDS = ("lowest third", "middle third", "highest third")
_SIDES = {"N": "north", "S": "south"}


def shift_scores(
    store: ObjectStore,
    test: AuditedSide,
    said: Mapping[str, Floats],
    bootstrap: Bootstrap,
    *,
    count: int | None,
) -> dict[str, dict[str, GroupScores]]:
    """Scores each group of each division: R2 of what neighbours say, and recall where modalities are aligned."""
    ranked = {} if count is None else ranks_across(test.vectors, count)
    found: dict[str, dict[str, GroupScores]] = {}
    for name, groups in _divisions(store, test).items():
        scores = {
            group: GroupScores(
                objects=int(chosen.sum()),
                fit={kind: r2_score(test.target[chosen], values[chosen], bootstrap) for kind, values in said.items()},
                retrieval=_recalls(ranked, chosen, bootstrap),
            )
            for group, chosen in groups.items()
            if chosen.sum() >= _FEWEST
        }
        if len(scores) > 1:
            found[name] = scores
    return found


def _recalls(ranked: Mapping[str, Ranks], chosen: NDArray[np.bool_], bootstrap: Bootstrap) -> dict[str, Recall]:
    """Recall of the queries of a group; partners are looked for among all objects, not among those of the group."""
    of_group = {name: ranks.of(chosen[: len(ranks)]) for name, ranks in ranked.items()}
    return {
        name: recall_within(NEAREST, ranks, len(ranked[name]), bootstrap)
        for name, ranks in of_group.items()
        if len(ranks) >= _FEWEST
    }


def _divisions(store: ObjectStore, test: AuditedSide) -> dict[str, dict[str, NDArray[np.bool_]]]:
    divisions = {"part of the sky": _parts_of_the_sky(store, test.rows)}
    for nuisance in test.nuisances:
        values = nuisance.values[:, nuisance.values.shape[1] // 2]
        name = MAGNITUDE if nuisance.name == MAGNITUDE else nuisance.columns[len(nuisance.columns) // 2]
        low, high = np.quantile(values, (1 / 3, 2 / 3))
        third = (values > low).astype(np.int64) + (values > high)
        divisions[name] = {text: third == index for index, text in enumerate(_THIRDS)}
    return divisions


def _parts_of_the_sky(store: ObjectStore, rows: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """North and south by the catalogue's PHOTSYS, else by position, as the Legacy Surveys divide them."""
    column = next((name for name in store.columns if name.lower() == "photsys"), None)
    if column is not None:
        values = np.ma.filled(store.column(column, rows), "").astype(str)
        return {text: values == letter for letter, text in _SIDES.items()}
    ra, dec = store.target("ra", rows), store.target("dec", rows)
    there = np.isfinite(ra) & np.isfinite(dec)
    north = np.zeros(len(rows), np.bool_)
    north[there] = (dec[there] > _NORTH) & _above_the_plane(ra[there], dec[there])
    return {"north": north, "south": there & ~north}


def _above_the_plane(ra: Floats, dec: Floats) -> NDArray[np.bool_]:
    from astropy import units
    from astropy.coordinates import SkyCoord

    return np.asarray(SkyCoord(ra * units.deg, dec * units.deg).galactic.b.deg > 0)
