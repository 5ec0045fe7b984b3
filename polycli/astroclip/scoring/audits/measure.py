"""All audits of one dataset: what nuisances tell, controls that must vanish, and scores by group of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.recipe.settings import EvalSettings
from polycli.astroclip.scoring.audits.controls import controls
from polycli.astroclip.scoring.audits.leaks import Explained, enough_permutations, explained_beyond, magnitude_bins
from polycli.astroclip.scoring.audits.nuisances import Floats, Nuisance, nuisance_columns
from polycli.astroclip.scoring.audits.objects import MAGNITUDE, AuditedSide, audited_sides, neighbours_say
from polycli.astroclip.scoring.audits.records import AuditScores, Controls, NuisanceAudit
from polycli.astroclip.scoring.audits.shift import shift_scores
from polycli.astroclip.scoring.audits.without import Regressions, recalls, together
from polycli.astroclip.scoring.measure import Side
from polycli.console import note
from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import ProbeSettings
from polycli.report.table import number

ALL = "all"
#: Objects of either side without which nothing is audited, and those that tests of leaks take at most.
_FEWEST, _MOST = 40, 5000


def check_columns(store: ObjectStore, settings: EvalSettings) -> None:
    """Looks whether the columns that the audit was given are there.

    Raises:
        StoreError: one is not there, or is text.
    """
    if settings.audit.run:
        store.target(settings.audit.target, [0])
        nuisance_columns(store, settings.audit.columns)


def audit(
    store: ObjectStore, reference: Side, test: Side, settings: EvalSettings, bootstrap: Bootstrap, *, aligned: bool
) -> AuditScores | None:
    """Every audit of one dataset; None where it is too small, which is said, or where none was asked for."""
    asked = settings.audit
    if not asked.run:
        return None
    sides = audited_sides(store, reference, test, target=asked.target, columns=asked.columns)
    learnt, scored = sides
    counts = [len(side.rows) for side in sides]
    if min(counts) < _FEWEST or np.ptp(scored.target) == 0:
        note(
            f"{store.name}: {asked.target} and all nuisances are known of {counts[0]} training and {counts[1]} test "
            f"objects: no audit, which needs {_FEWEST} of each and a {asked.target} that varies"
        )
        return None
    probes = ProbeSettings(settings.neighbours, settings.seed)
    count = settings.candidates if aligned else None
    groups = [nuisance for nuisance in scored.nuisances if nuisance.name != MAGNITUDE]
    permutations = enough_permutations(asked.permutations, len(groups), asked.level)
    explained = _explained(learnt, scored, permutations=permutations, level=asked.level, seed=settings.seed)
    regressions = Regressions(learnt, scored, probes, bootstrap)
    said = neighbours_say(learnt, scored, probes)
    nuisances = {
        nuisance.name: _nuisance_audit(
            regressions,
            (train, nuisance),
            said,
            explained.get(nuisance.name),
            count=count,
            permutations=permutations,
            level=asked.level,
            groups=len(groups),
        )
        for train, nuisance in _with_all(learnt, scored)
    }
    control = controls(learnt, scored, probes, bootstrap, count=count)
    return AuditScores(
        target=asked.target,
        objects=min(_MOST, sum(counts)),
        test_objects=counts[1],
        permutations=permutations,
        seed=settings.seed,
        level=asked.level,
        verdicts=[*_leaks_found(asked.target, nuisances), *_controls_failed(control)],
        nuisances=nuisances,
        controls=control,
        shift=shift_scores(store, scored, said, bootstrap, count=count),
    )


def _explained(
    learnt: AuditedSide, scored: AuditedSide, *, permutations: int, level: float, seed: int
) -> dict[str, Explained]:
    """Tests how much each nuisance explains beyond magnitudes among the objects of both sides, by name."""
    total = len(learnt.rows) + len(scored.rows)
    chosen = np.sort(np.random.default_rng(seed).permutation(total)[:_MOST])
    both = [
        Nuisance(one.name, one.columns, np.concatenate([one.values, other.values])[chosen])
        for one, other in zip(learnt.nuisances, scored.nuisances, strict=True)
    ]
    magnitudes = next((one.values for one in both if one.name == MAGNITUDE), None)
    found = explained_beyond(
        np.concatenate([learnt.target, scored.target])[chosen],
        magnitudes,
        magnitude_bins(np.concatenate([learnt.brightness, scored.brightness])[chosen]),
        [one for one in both if one.name != MAGNITUDE],
        permutations=permutations,
        level=level,
        seed=seed,
    )
    return {one.name: one for one in found}


def _with_all(learnt: AuditedSide, scored: AuditedSide) -> list[tuple[Nuisance, Nuisance]]:
    """Each nuisance on both sides and, where there are several, all of them as one."""
    pairs = list(zip(learnt.nuisances, scored.nuisances, strict=True))
    if len(pairs) > 1:
        pairs.append((together(learnt.nuisances, ALL), together(scored.nuisances, ALL)))
    return pairs


def _nuisance_audit(
    regressions: Regressions,
    nuisance: tuple[Nuisance, Nuisance],
    said: Mapping[str, Floats],
    explained: Explained | None,
    *,
    count: int | None,
    permutations: int,
    level: float,
    groups: int,
) -> NuisanceAudit:
    train, test = nuisance
    alone, *left = regressions.alone(train, test)
    cleaned = {name: regressions.cleaned(train, test, name) for name in said}
    told = {name: regressions.told(train, test, name, permutations) for name in said}
    # Divided among all groups, so that false alarms of all together are as rare as was asked for.
    there = explained is not None and explained.p * groups <= level
    leaks = [name for name in told if there and told[name].p <= level]
    without = {
        name: regressions.without(cleaned[name], (left[0], left[1]), name, whole) for name, whole in said.items()
    }
    rest = {name: values[1] for name, values in cleaned.items()}
    return NuisanceAudit(
        columns=list(test.columns),
        alone=alone,
        beyond_magnitude=None if explained is None else explained.share,
        p=None if explained is None else explained.p,
        told=told,
        without=without,
        retrieval={} if count is None else recalls(rest, count, regressions.bootstrap),
        leaks=leaks,
    )


def _leaks_found(target: str, nuisances: Mapping[str, NuisanceAudit]) -> Sequence[str]:
    leaking = [(name, found) for name, found in nuisances.items() if found.leaks]
    leaking.sort(key=lambda pair: -(pair[1].beyond_magnitude or 0))
    return [_leak_sentence(target, name, found) for name, found in leaking]


def _leak_sentence(target: str, name: str, found: NuisanceAudit) -> str:
    parts = []
    for modality in found.leaks:
        best = max((fit.r2 or 0 for fit in found.told[modality].columns.values()), default=0)
        scores = found.without[modality]
        parts.append(
            f"{modality} vectors tell it (R2 {number(best)}), and of their {target} R2 of {number(scores.whole.r2)} "
            f"{number(scores.left.r2)} is left once it is regressed out"
        )
    return (
        f"leak found: {name} explains {number(100 * (found.beyond_magnitude or 0))} % of what magnitudes leave of "
        f"{target} (p = {number(found.p)}); {'; '.join(parts)}"
    )


def _controls_failed(control: Controls) -> Sequence[str]:
    labels = [
        f"control fails: with labels permuted within bins of magnitude, neighbours of {name} vectors reach an R2 of "
        f"{number(found.r2)}, and the bins alone {number(found.bins)}"
        for name, found in control.permuted_labels.items()
        if not found.holds
    ]
    pairs = [
        f"control fails: of shuffled pairs, {name.replace('_', ' ')} finds {number(found.recall.recall)} within ten, "
        f"chance is {number(found.recall.chance)} (p = {number(found.p)})"
        for name, found in control.shuffled_pairs.items()
        if not found.holds
    ]
    return [*labels, *pairs]
