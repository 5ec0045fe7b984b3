"""Divides objects into training, validation and test: each by its content, or all of a cell of the sky together.

Cutouts of neighbours share pixels, so that a model that is tested on one has seen part of it in the other; by cells,
only neighbours on both sides of a border still do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.healpix import nested_pixels
from polycli.astroclip.recipe.preparing import SplitSection
from polycli.console import warn
from polycli.errors import SourceError
from polycli.requests import Split
from polycli.store.splits import describe_split, group_hashes, split_rows


def split_objects(
    hashes: Sequence[str], ra: NDArray[np.float64], dec: NDArray[np.float64], section: SplitSection
) -> tuple[list[Split], str]:
    """The split of each object, and the rule as a sentence for the manifest.

    Args:
        hashes: of the content, 32 hex digits each.
        ra: degrees, finite where the section divides the sky.
        dec: degrees.
        section: what is divided, and into which shares.
    """
    by = "content"
    if section.by == "sky":
        cells = nested_pixels(ra, dec, section.order)
        count = len(np.unique(cells))
        by = f"sky (healpix cells of order {section.order}, nested; {count} of them hold objects)"
        hashes = group_hashes([f"{section.order}/{cell}" for cell in cells.tolist()])
        if count == 1:
            warn(
                f"split.by=sky: all objects are in one cell of order {section.order}: all train, and none is left to "
                "validate or test on; a higher split.order makes smaller cells"
            )
    splits = split_rows(hashes, validation=section.validation, test=section.test)
    return splits, describe_split(splits, validation=section.validation, test=section.test, by=by)


def refuse_unplaced(name: str, ids: NDArray[Any], ra: NDArray[np.float64], dec: NDArray[np.float64]) -> None:
    """Make sure that every object has a position, without which it is in no cell of the sky.

    Raises:
        SourceError: one has none.
    """
    unplaced = np.flatnonzero(~(np.isfinite(ra) & np.isfinite(dec)))
    if unplaced.size:
        raise SourceError(
            f"{name}: split.by is sky, and {unplaced.size} of {len(ids)} objects have no position, the first is "
            f"{ids[unplaced[0]]}",
            hint="leave split.by=content, or give positions: arrays.ra and arrays.dec name them for --source arrays",
        )
