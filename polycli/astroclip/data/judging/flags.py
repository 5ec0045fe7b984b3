"""Names the objects that are kept though something about them is doubtful, with the reason, for manifest and screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.description import QUALITY_BITS
from polycli.console import counted
from polycli.store.manifest import LeftOut

#: The key that fills margins: a reason begins with it, as others begin with the name of a bit.
FILLED = "images.fill"
#: The bits that are doubts about what is there; a redshift or a position that nobody knows is none.
DOUBTS = {
    "no_good_redshift": "the catalogue warns of the redshift, or it is not of a galaxy",
    "spectrum_partly_masked": "more than 10 % of the pixels are masked",
    "low_signal_to_noise": "the median signal to noise of a pixel is below 0.5",
    "image_partly_blank": "more than 10 % of the pixels of a band are exactly 0",
}


def doubts(quality: NDArray[np.uint32], filled: NDArray[np.int64]) -> list[list[str]]:
    """Says what is doubtful about each object.

    Args:
        quality: (n,) bits of `QUALITY_BITS`.
        filled: (n,) pixels of the margins of its image that `images.fill` filled.
    """
    found: list[list[str]] = []
    for bits, pixels in zip(quality.tolist(), filled.tolist(), strict=True):
        said = [f"{FILLED}: {counted(pixels, 'pixel', 'pixels')} of the margins"] if pixels else []
        found.append(said + [f"{name}: {words}" for name, words in DOUBTS.items() if bits & QUALITY_BITS[name]])
    return found


#: Objects that the manifest lists of each doubt. The manifest is read whenever a store is opened, and 300,000
#: entries, as a million faint spectra may have, took 1.6 s; the column `quality` has them all.
MOST_LISTED = 1000


def first_of_each(flagged: Sequence[LeftOut]) -> list[LeftOut]:
    """Those that are listed: the first thousand of each doubt, in their order."""
    met: Counter[str] = Counter()
    listed = []
    for entry in flagged:
        name = _doubt_of(entry)
        met[name] += 1
        if met[name] <= MOST_LISTED:
            listed.append(entry)
    return listed


def counts_of(flagged: Sequence[LeftOut]) -> dict[str, int]:
    """How many objects have each doubt, by the name of the bit, or of the key that filled margins."""
    return dict(sorted(Counter(map(_doubt_of, flagged)).items()))


def _doubt_of(entry: LeftOut) -> str:
    return entry.reason.split(":")[0]


def sentence_of(counts: dict[str, int]) -> str | None:
    """Says how many objects were filled and flagged; None where none were."""
    parts = [f"{counted(counts[FILLED], 'cutout', 'cutouts')} filled by {FILLED}"] if FILLED in counts else []
    marks = ", ".join(f"{name} {count:,}" for name, count in counts.items() if name != FILLED)
    parts += [f"flagged in the column quality: {marks}"] if marks else []
    return "; ".join(parts) or None


def names_of_bits(quality: NDArray[Any], bits: dict[str, int]) -> dict[str, int]:
    """How many of the rows of a column `quality` have each bit, of those that some have."""
    found = {name: int(((quality & bit) > 0).sum()) for name, bit in bits.items()}
    return {name: count for name, count in found.items() if count}
