"""Counts of votes from a store: gaps, and what is no count."""

from types import SimpleNamespace

import numpy as np
import pytest

from polycli.astroclip.data.votes import read_votes, refuse_absent_votes
from polycli.astroclip.recipe.votes import VotesSection
from polycli.errors import StoreError

ROWS = np.arange(3)


@pytest.fixture
def section():
    questions = {"ring": {"answers": ["ring_yes", "ring_no"]}, "arm": {"answers": ["arm_yes", "arm_no"]}}
    return VotesSection.model_validate({"questions": questions})


def store(**columns):
    """As much of a store as is asked here."""
    known = {"ring_yes": [3, 0, np.nan], "ring_no": [1, 0, np.nan], "arm_yes": [0, 2, 5], "arm_no": [1, 1, 1]} | columns
    known = {name: np.array(values, float) for name, values in known.items() if values is not None}
    return SimpleNamespace(path="zoo.zarr", columns=tuple(known), target=lambda name, rows: known[name][rows])


def test_an_unknown_count_is_no_vote_and_answers_stand_in_their_order(section):
    assert read_votes(store(), ROWS, section).tolist() == [[3, 1, 0, 1], [0, 0, 2, 1], [0, 0, 5, 1]]


@pytest.mark.parametrize("wrong", [-1.0, 0.5, np.inf])
def test_what_is_no_count_is_refused_with_its_row(section, wrong):
    with pytest.raises(StoreError, match=f"zoo.zarr: column arm_no holds {wrong:g} in row 1, and a whole number"):
        read_votes(store(arm_no=[1, wrong, 1]), ROWS, section)


def test_an_absent_column_is_named_with_its_question_and_the_nearest_name(section):
    with pytest.raises(StoreError, match="has no column ring_no, the votes for an answer to ring") as caught:
        refuse_absent_votes(section, [store(), store(ring_no=None, ring_No_=[1, 1, 1])])
    assert "ring_No_" in caught.value.hint
