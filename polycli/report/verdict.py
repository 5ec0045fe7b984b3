"""The verdict on a dataset, in one sentence: how good the model is there, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from polycli.report.table import interval, number

#: Against the simpler answers: better, not told apart or better in part, worse.
Standing = Literal["good", "mixed", "poor"]
_ORDER = {"poor": 0, "mixed": 1, "good": 2}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One dataset's main score, what it means, and the next thing to do."""

    standing: Standing
    #: Begins without the dataset's name, which stands before it.
    sentence: str
    #: What to do next.
    advice: str
    #: The name of the main score.
    measure: str
    value: float | None
    #: Low and high of `value`; None where it has none.
    interval: tuple[float | None, float | None] | None = None
    #: Which values are better.
    better: Literal["lower", "higher"] = "lower"

    @property
    def shown(self) -> str:
        """The main score with its interval."""
        around = interval(self.interval)
        return number(self.value) if around == "-" else f"{number(self.value)} ({around})"


def worst_first(verdicts: Mapping[str, Verdict]) -> list[str]:
    """Names of datasets, what needs attention first: by standing, then by the main score; equal ones as they came."""
    return sorted(verdicts, key=lambda name: (_ORDER[verdicts[name].standing], -_badness(verdicts[name])))


def best_and_worst(verdicts: Mapping[str, Verdict]) -> str:
    """Names the best and the worst dataset; empty where there is one alone, or where scores are not of one kind."""
    if len(verdicts) < 2 or len({(verdict.measure, verdict.better) for verdict in verdicts.values()}) > 1:
        return ""
    ranked = sorted(verdicts, key=lambda name: _badness(verdicts[name]))
    best, worst = ranked[0], ranked[-1]
    return (
        f"Best: {best} ({number(verdicts[best].value)}); worst: {worst} ({number(verdicts[worst].value)}), "
        f"by {verdicts[best].measure}, {verdicts[best].better} is better."
    )


def _badness(verdict: Verdict) -> float:
    if verdict.value is None:
        return float("inf")
    return verdict.value if verdict.better == "lower" else -verdict.value
