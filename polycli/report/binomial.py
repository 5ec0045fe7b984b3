"""Intervals of shares that were counted: how far a rate in a small sample may be from the true one."""

from __future__ import annotations

from scipy.stats import beta


def beta_interval(successes: int, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """The Clopper-Pearson interval of a rate, which covers the true rate at least as often as it says.

    Args:
        successes: how many of the trials came out so.
        trials: how many there were, at least one.
        level: how often the interval is to cover the true rate.

    >>> low, high = beta_interval(0, 10)
    >>> round(low, 4), round(high, 4)
    (0.0, 0.3085)
    """
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, successes, trials - successes + 1)) if successes else 0.0
    high = float(beta.ppf(1 - tail, successes + 1, trials - successes)) if successes < trials else 1.0
    return low, high
