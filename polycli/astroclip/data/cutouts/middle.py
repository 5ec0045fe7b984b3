"""Says where the middle of an image begins, by one rule for what encoders see, `prepare` crops and audits point at."""

from __future__ import annotations


def first_of_middle(length: int, size: int) -> int:
    """Returns the first of the middle `size` of so many pixels; of 152 and 144 the fifth, which is number 4.

    Where the two margins cannot be equal, the first one is that of an even number of pixels.

    >>> [first_of_middle(length, 8) for length in (8, 9, 10, 11, 12)]
    [0, 0, 1, 2, 2]
    """
    return round((length - size) / 2)
