"""Says in one sentence for each dataset how good an evaluation of vectors came out, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping

from polycli.astroclip.scoring.retrieval import Recall
from polycli.astroclip.scoring.score_records import ObjectScores
from polycli.report.probes import Fit
from polycli.report.table import interval, number
from polycli.report.verdict import Standing, Verdict

#: Inputs that the model makes vectors of; the rest are what it is compared with.
_SEEN = ("image", "spectrum")
_ALIGNED = "image_to_spectrum"


def verdicts(datasets: Mapping[str, ObjectScores]) -> dict[str, Verdict]:
    """Says by dataset what is found across modalities, which property is read best and worst, and photometry beside."""
    return {name: _verdict(dataset) for name, dataset in datasets.items()}


def _verdict(dataset: ObjectScores) -> Verdict:
    own, beside = _read(dataset)
    parts = [_constant(dataset), _found(dataset.retrieval[_ALIGNED].recall_at["10"] if _aligned(dataset) else None)]
    if own:
        best, worst = max(own, key=lambda column: own[column]), min(own, key=lambda column: own[column])
        parts.append(f"best read property {best} (R2 {number(own[best])})")
        if worst != best:
            parts.append(f"worst {worst} ({number(own[worst])})")
    beaten = [column for column in own if column in beside and own[column] > beside[column]]
    compared = [column for column in own if column in beside]
    if compared:
        parts.append(f"better than photometry for {len(beaten)} of {len(compared)} properties")
    parts.append(_voted(dataset))
    standing, advice = _judged(dataset, beaten=len(beaten), compared=len(compared))
    value = sum(own.values()) / len(own) if own else None
    sentence = "; ".join(part for part in parts if part) or f"{dataset.objects} objects, and nothing to compare with"
    return Verdict(
        standing=standing,
        sentence=sentence[0].upper() + sentence[1:] + ".",
        advice=advice,
        measure="mean R2 of properties",
        value=value,
        better="higher",
    )


def _aligned(dataset: ObjectScores) -> bool:
    return _ALIGNED in dataset.retrieval and "10" in dataset.retrieval[_ALIGNED].recall_at


def _constant(dataset: ObjectScores) -> str:
    constant = dataset.geometry.constant or ()
    return f"the {' and '.join(constant)} vectors hardly vary" if constant else ""


def _found(recall: Recall | None) -> str:
    if recall is None:
        return ""
    around = interval([100 * (end or 0.0) for end in recall.interval])
    return (
        f"an image finds its spectrum among the nearest ten in {100 * recall.recall:.3g} % of cases "
        f"(chance {100 * recall.chance:.3g} %, 95 % interval {around} %)"
    )


def _voted(dataset: ObjectScores) -> str:
    """The part of the sentence about volunteers' questions; empty where the model has learnt none."""
    votes = {} if dataset.morphology is None else dataset.morphology.votes or {}
    if not votes:
        return ""
    losses = [[scores.by[who].negative_log_likelihood for who in ("head", "constant")] for scores in votes.values()]
    better = sum(head < constant for head, constant in losses)
    return f"knows better than one answer for all what volunteers say to {better} of {len(votes)} questions"


def _read(dataset: ObjectScores) -> tuple[dict[str, float], dict[str, float]]:
    """Finds by property the best R2 of the model, its own head where it has one, and the best of photometry."""
    own: dict[str, float] = {}
    beside: dict[str, float] = {}
    for column, inputs in dataset.read.properties.items():
        seen = [fit for source in _SEEN for fit in inputs.get(source, {}).values()]
        _keep_best(own, column, seen)
        _keep_best(beside, column, list(inputs.get("photometry", {}).values()))
    if dataset.head is not None:
        for column, scores in dataset.head.properties.items():
            own.pop(column, None)
            _keep_best(own, column, [scores.fit])
    return own, beside


def _keep_best(found: dict[str, float], column: str, fits: list[Fit]) -> None:
    known = [fit.r2 for fit in fits if fit.r2 is not None]
    if known:
        found[column] = max(known)


def _judged(dataset: ObjectScores, *, beaten: int, compared: int) -> tuple[Standing, str]:
    if dataset.geometry.constant:
        return "poor", "train again with other settings: vectors that do not vary say nothing of an object."
    if _aligned(dataset):
        recall = dataset.retrieval[_ALIGNED].recall_at["10"]
        if (recall.interval[0] or 0.0) <= recall.chance < 1:
            return "poor", "align longer or on more pairs: images and spectra are not told to belong together."
    if dataset.audit is not None and dataset.audit.verdicts:
        return "mixed", "heed the audit: what is left of scores without the leak is what they are worth elsewhere."
    if compared and not beaten:
        return "poor", "use photometry for these properties, or train longer and on more objects."
    if beaten < compared:
        return (
            "mixed",
            "use photometry where it is better; labels of your own (`polycli finetune astroclip`) can close the gap.",
        )
    return "good", "make a catalogue with `polycli embed astroclip`, and search it with `polycli search`."
