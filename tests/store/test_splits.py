"""Splits depend on content alone, keep duplicates together, and leave no split empty that could have a row."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polycli.errors import RecipeError, UserError
from polycli.recipes import default_recipe
from polycli.store.hashing import hex_of
from polycli.store.splits import describe_split, split_many, split_rows

hashes = st.lists(st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}"), min_size=0, max_size=30)
fractions = st.tuples(st.floats(0.01, 0.45), st.floats(0.01, 0.45))


def many(count: int) -> list[str]:
    return [hashlib.sha256(str(n).encode()).hexdigest()[:32] for n in range(count)]


@settings(deadline=None)
@given(hashes=hashes, fractions=fractions)
def test_no_split_is_empty_that_could_have_a_row(hashes, fractions):
    validation, test = fractions
    splits = split_rows(hashes, validation=validation, test=test)
    different = len(set(hashes))
    assert len(splits) == len(hashes)
    assert ("train" in splits) == (different >= 1)
    assert ("test" in splits) == (different >= 2)
    assert ("validation" in splits) or different < 3
    if different == 1:
        assert set(splits) == {"train"}


@settings(max_examples=50, deadline=None)
@given(hashes=hashes, fractions=fractions, data=st.data())
def test_duplicates_share_a_split_and_order_does_not_matter(hashes, fractions, data):
    validation, test = fractions
    doubled = data.draw(st.permutations(hashes + hashes))
    by_hash = dict(zip(doubled, split_rows(doubled, validation=validation, test=test), strict=True))
    assert split_rows(hashes, validation=validation, test=test) == [by_hash[row] for row in hashes]


@settings(max_examples=25, deadline=None)
@given(added=hashes)
def test_rows_that_are_added_move_no_row_of_a_store_that_is_not_tiny(added):
    rows = many(60)
    before = split_rows(rows, validation=0.1, test=0.1)
    assert split_rows(rows + added, validation=0.1, test=0.1)[:60] == before


def test_large_data_is_split_in_the_fractions_asked_for():
    counts = Counter(split_rows(many(20_000), validation=0.1, test=0.2))
    # Binomial: four standard deviations are 170 and 226 rows.
    assert abs(counts["validation"] - 2000) < 170
    assert abs(counts["test"] - 4000) < 226


@settings(max_examples=50, deadline=None)
@given(hashes=hashes, tested=st.integers(1, 5), validated=st.integers(1, 5))
def test_whole_numbers_are_exact_and_by_hash(hashes, tested, validated):
    different = sorted(set(hashes))
    if different and tested + validated >= len(different):
        with pytest.raises(
            UserError, match=f"{validated} validation and {tested} test rows .* {len(different)} different"
        ):
            split_rows(hashes, validation=validated, test=tested)
        return
    splits = dict(zip(hashes, split_rows(hashes, validation=validated, test=tested), strict=True))
    assert [splits[row] for row in different] == (
        ["test"] * tested + ["validation"] * validated + ["train"] * (len(different) - tested - validated)
    )[: len(different)]


def test_a_share_beside_a_whole_number_is_one_of_the_rows_and_at_least_one_row():
    assert Counter(split_rows(many(40), validation=0.1, test=10)) == {"train": 26, "validation": 4, "test": 10}
    assert Counter(split_rows(many(4), validation=0.1, test=2)) == {"train": 1, "validation": 1, "test": 2}
    assert Counter(split_rows(many(4), validation=0, test=1)) == {"train": 3, "test": 1}
    assert describe_split(["test"], validation=0.1, test=10).startswith("by content hash: 10 rows test, 0.1 validation")


@pytest.mark.parametrize("family", ["mpp", "xval", "astroclip"])
def test_recipes_of_all_families_take_shares_and_whole_numbers(family):
    assert default_recipe(family, "prepare", ("split.test=10", "split.validation=0.2")).split.test == 10
    for wrong in ("1.5", "0", "-1"):
        with pytest.raises(RecipeError, match=r"split\.test"):
            default_recipe(family, "prepare", (f"split.test={wrong}",))


def test_two_rows_train_and_test_and_validation_borrows():
    splits = split_rows(many(2), validation=0.1, test=0.1)
    assert sorted(splits) == ["test", "train"]
    assert "validation has no rows of its own and uses the test rows" in describe_split(
        splits, validation=0.1, test=0.1
    )


def test_a_fraction_of_zero_keeps_its_split_empty():
    assert set(split_rows(many(5), validation=0, test=0)) == {"train"}
    assert set(split_rows(many(5), validation=0, test=0.2)) == {"train", "test"}


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (-0.1, 0.2), (0.1, 1.2)])
def test_fractions_that_leave_nothing_to_train_are_refused(validation, test):
    with pytest.raises(UserError, match="sum below 1"):
        split_rows(many(3), validation=validation, test=test)


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.1), (0.25, 0.5), (0.0, 0.3), (0.3, 0.0), (1 / 3, 1 / 3)])
def test_many_rows_at_once_are_split_as_one_by_one_also_at_the_borders(validation, test):
    generator = np.random.default_rng(0)
    hashes = generator.integers(256, size=(3000, 16), dtype=np.uint8)
    borders = [int(border * 2**128) for border in (test, test + validation)]
    close = [border + step for border in borders for step in (-(2**60), -1, 0, 1, 2**60, 2**75, -(2**75))]
    hashes[: len(close)] = [np.frombuffer(max(0, number).to_bytes(16, "big"), dtype=np.uint8) for number in close]
    one_by_one = split_rows(hex_of(hashes), validation=validation, test=test)
    assert split_many(hashes, validation=validation, test=test) == one_by_one


def test_few_rows_and_numbers_of_rows_are_left_to_the_other_rule():
    hashes = np.full((5, 16), 255, dtype=np.uint8)
    assert split_many(hashes, validation=0.1, test=0.1) is None
    assert split_many(hashes, validation=1, test=2) is None
