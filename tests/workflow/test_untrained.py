"""Data that a model was not trained on are refused by name with a way out, or allowed and said."""

import pytest

from polycli.errors import SourceError, StoreError
from polycli.workflow.untrained import Difference, refuse_untrained

OTHER = [Difference("swe: its frames are 0.2 apart", "--set data.time_stride=2"), Difference("swe: height is in km")]


def test_every_difference_is_named_and_the_key_that_allows_them():
    with pytest.raises(StoreError, match=r"^swe: its frames are 0.2 apart; swe: height is in km") as refusal:
        refuse_untrained(OTHER, allow=False)
    assert refusal.value.exit_code == 2
    assert "--set data.time_stride=2; or --set allow_untrained=true" in str(refusal.value.hint)


def test_a_verb_without_the_key_does_not_name_it():
    with pytest.raises(SourceError) as refusal:
        refuse_untrained(OTHER, allow=None, error=SourceError)
    assert refusal.value.hint == "--set data.time_stride=2"


def test_what_is_allowed_is_said(capsys):
    refuse_untrained(OTHER, allow=True)
    said = " ".join(capsys.readouterr().err.split())
    assert "height is in km; allowed" in said


def test_equal_data_are_passed_over(capsys):
    refuse_untrained([], allow=False)
    assert capsys.readouterr().err == ""
