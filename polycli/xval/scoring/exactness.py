"""Counts answers that are right to the digit: as the key's numbers are written, and to three significant figures."""

from __future__ import annotations

import numpy as np

from polycli.xval.numbers.statistics import decades_of
from polycli.xval.scoring.score_records import Exactness
from polycli.xval.scoring.summarise import Examined

#: Figures that text encodings write.
_FIGURES = 3


def exactness(examined: Examined) -> Exactness:
    """The shares of answers that round to the truth; an answer that is no number is wrong.

    `written`: with as many decimals as the numbers of the key path have in training, over the key paths whose numbers
    have few; null where there is none. `three_figures`: at the third significant figure of the truth.
    """
    errors = np.abs(examined.answers["model"] - examined.truth)
    decimals = np.array([examined.decimals.get(path, -1) for path in examined.key_paths], dtype=np.int64)[examined.key]
    written = decimals >= 0
    size = np.abs(examined.truth)
    third = np.zeros(len(size))
    third[size > 0] = 10.0 ** (decades_of(size[size > 0]) - (_FIGURES - 1))
    return Exactness(
        written=float((errors[written] < 0.5 * 10.0 ** -decimals[written]).mean()) if written.any() else None,
        three_figures=float((errors <= 0.5 * third).mean()) if len(errors) else None,
    )
