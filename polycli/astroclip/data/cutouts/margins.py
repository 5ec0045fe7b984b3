"""Crops cutouts to a size and fills their margins, where a recipe asks for it.

At the edge of a survey a cutout reaches beyond what was observed, and has no number there. A hole within the image, in
the core of a bright star say, is no margin and stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.cutouts.middle import first_of_middle
from polycli.astroclip.recipe.preparing import ImagesSection
from polycli.console import note
from polycli.errors import SourceError


def cropped_size(size: tuple[int, int], section: ImagesSection, *, what: str) -> tuple[int, int]:
    """The size of cutouts, (height, width), after they are cropped as the recipe says.

    Raises:
        SourceError: they are smaller than that; `what` names them.
    """
    crop = section.crop
    if crop is None:
        return size
    if min(size) < crop:
        raise SourceError(
            f"{what}: cutouts are {size[0]} x {size[1]} pixels, and images.crop is {crop}",
            hint="lower images.crop, or leave it out",
        )
    return crop, crop


def one_size(files: Sequence[tuple[str, tuple[int, int]]], section: ImagesSection) -> tuple[int, int] | None:
    """The size to which cutouts of several sizes are cropped, which is said; None where all have one size.

    `files`: of each cutout, the file that it is in, and its (height, width).

    Raises:
        SourceError: some are smaller than that, or the recipe names none.
    """
    often = Counter(size for _, size in files)
    if len(often) < 2:
        return None
    counts = ", ".join(f"{count} of {size[0]} x {size[1]}" for size, count in sorted(often.items()))
    example, first = files[0]
    if section.crop is None:
        name, other = next((name, size) for name, size in files if size != first)
        raise SourceError(
            f"{name}: cutouts are {other[0]} x {other[1]} pixels, and {first[0]} x {first[1]} in {example}; one size "
            f"was expected, and there are {counts}",
            hint=f"--set images.crop={min(min(size) for size in often)} takes the middle of each, or prepare them into "
            "different stores",
        )
    found = [cropped_size(size, section, what=name) for name, size in files]
    note(f"cutouts of {len(often)} sizes ({counts}) are cropped to {found[0][0]} x {found[0][1]}")
    return found[0]


def cropped(images: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """The middle of images, (..., y, x), of this height and width, as models crop theirs."""
    top, left = (first_of_middle(images.shape[axis], length) for axis, length in zip((-2, -1), size, strict=True))
    return images[..., top : top + size[0], left : left + size[1]]


def filled(images: NDArray[np.float32], value: float, most: float) -> NDArray[np.float32]:
    """Images, (n, band, y, x), with this value where pixels that are not finite reach the border.

    A band of which a larger part than `most` is not finite stays as it is, and is rejected for that.
    """
    bad = ~np.isfinite(images)
    affected = np.argwhere(bad.any(axis=(2, 3)) & (bad.mean(axis=(2, 3)) <= most))
    if not len(affected):
        return images
    from scipy.ndimage import binary_propagation

    border = np.ones(images.shape[2:], np.bool_)
    border[1:-1, 1:-1] = False
    result = images.copy()
    for row, band in affected.tolist():
        # Diagonal neighbours count: the edge of a survey runs across pixels at any angle.
        margin = binary_propagation(border & bad[row, band], np.ones((3, 3)), mask=bad[row, band])
        result[row, band][margin] = value
    return result
