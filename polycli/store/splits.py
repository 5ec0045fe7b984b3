"""Divides rows into training, validation and test: by content, so that parts agree and duplicates share a split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError
from polycli.requests import Split
from polycli.store.hashing import ROW_HASH_DIGITS

_RANGE = float(16**ROW_HASH_DIGITS)
#: Distance from a border of splits, as a share of all, within which a row is looked at alone.
_NEAR = 1e-12


def split_rows(hashes: Sequence[str], *, validation: float, test: float) -> list[Split]:
    """The split of each row, from its content hash (32 hex digits), which is even over [0, 1).

    Below `test` a row tests, below `test + validation` it validates, else it trains; so a row that is added moves no
    other. Where that leaves a split empty, rows at the ends of the order of hashes fill it: with two or more different
    rows at least one trains and one tests, with three or more one validates. A fraction of 0 keeps its split empty.

    A number of 1 and more is one of different rows: so many at the beginning of the order of hashes test, the next
    validate. A fraction beside such a number is taken of the rows that there are. Rows that are added then move others.

    Raises:
        UserError: the fractions are negative, or nothing is left to train on.
    """
    # As hexadecimal text of equal length: two hashes that differ in their last digits are one and the same float.
    order = sorted(set(hashes))
    sizes = (float(validation), float(test))
    if max(sizes) >= 1 and min(sizes) >= 0 and all(size < 1 or size.is_integer() for size in sizes):
        assigned = _by_count(order, validation, test)
        return [assigned[row] for row in hashes]
    _check_fractions(validation, test)
    assigned = {row: _by_position(_position(row), validation, test) for row in order}
    _fill_empty_splits(assigned, order, validation, test)
    return [assigned[row] for row in hashes]


def split_many(hashes: NDArray[np.uint8], *, validation: float, test: float) -> list[Split] | None:
    """The splits that `split_rows` gives, of many rows at once; None where it must look at them one by one.

    Args:
        hashes: (rows, 16) bytes.
        validation: a share, below 1.
        test: a share, below 1.
    """
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        return None
    words = np.ascontiguousarray(hashes[:, :8]).view(">u8")[:, 0].astype(np.float64)
    positions = words / 2.0**64
    borders = (test, test + validation)
    # As near to a border, the bytes that are left out, or rounding, may decide.
    near = np.zeros(len(hashes), dtype=np.bool_)
    for border in borders:
        near |= np.abs(positions - border) < _NEAR
    for row in np.flatnonzero(near).tolist():
        positions[row] = _position(hashes[row].tobytes().hex())
    codes = np.searchsorted(np.array(borders), positions, side="right")
    wanted = [code for code, share in ((0, test), (1, validation), (2, 1.0)) if share > 0]
    if not all((codes == code).any() for code in wanted):
        return None
    names: tuple[Split, Split, Split] = ("test", "validation", "train")
    return [names[code] for code in codes.tolist()]


def group_hashes(groups: Sequence[str]) -> list[str]:
    """A hash for each row that is the same for all rows of a group, so that a group shares a split."""
    known = {group: hashlib.sha256(group.encode()).hexdigest()[:ROW_HASH_DIGITS] for group in set(groups)}
    return [known[group] for group in groups]


def describe_split(splits: Sequence[Split], *, validation: float, test: float, by: str = "content") -> str:
    """One sentence for the manifest: the rule, and what was done for tiny data; `by` says what was hashed."""
    tested, validated = (f"{share:g} rows" if share >= 1 else f"{share:g}" for share in (test, validation))
    sentence = f"by {by} hash: {tested} test, {validated} validation, the rest train"
    if "test" in splits and "validation" not in splits:
        sentence += "; validation has no rows of its own and uses the test rows"
    if "test" not in splits:
        sentence += "; no row tests"
    return sentence


def _by_count(order: list[str], validation: float, test: float) -> dict[str, Split]:
    tested, validated = (
        int(number) if number >= 1 or number == 0 else max(1, round(number * len(order)))
        for number in (test, validation)
    )
    if order and tested + validated >= len(order):
        raise UserError(
            f"{validated} validation and {tested} test rows were asked for, and there are {len(order)} different ones: "
            "none is left to train",
            hint="lower split.validation and split.test; below 1 they are shares of the rows",
        )
    return {
        row: "test" if place < tested else "validation" if place < tested + validated else "train"
        for place, row in enumerate(order)
    }


def _check_fractions(validation: float, test: float) -> None:
    if validation < 0 or test < 0 or validation + test >= 1:
        raise UserError(
            f"splits of {validation:g} validation and {test:g} test were asked for; "
            "each must be at least 0 and their sum below 1, so that some rows train"
        )


def _position(row_hash: str) -> float:
    return int(row_hash[:ROW_HASH_DIGITS].ljust(ROW_HASH_DIGITS, "0"), 16) / _RANGE


def _by_position(position: float, validation: float, test: float) -> Split:
    if position < test:
        return "test"
    return "validation" if position < test + validation else "train"


def _fill_empty_splits(assigned: dict[str, Split], order: list[str], validation: float, test: float) -> None:
    """Give an empty split one row; `order` holds the different rows by position."""

    def members(split: Split) -> list[str]:
        return [row for row in order if assigned[row] == split]

    if not order:
        return
    if len(order) == 1:
        assigned[order[0]] = "train"
        return
    if test > 0 and not members("test"):
        assigned[order[0]] = "test"
    if not members("train"):
        assigned[order[-1]] = "train"
    if validation > 0 and len(order) >= 3 and not members("validation"):
        # Three rows in two splits: one of the two has a row to spare.
        train, tests = members("train"), members("test")
        assigned[train[0] if len(train) > 1 else tests[-1]] = "validation"
