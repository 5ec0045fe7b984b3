"""Classes of objects: those of text columns and of volunteers' majorities, beside each other."""

from types import SimpleNamespace

import numpy as np

from polycli.astroclip.recipe.votes import VotesSection
from polycli.astroclip.scoring.morphology.by_class import classes_of


def test_a_question_that_is_called_as_a_text_column_leaves_its_classes_where_they_are():
    """The classes of the column were lost, and those of the question stood under its name."""
    votes = {"many": np.array([50.0, 1, 50]), "few": np.array([1.0, 50, 1])}
    store = SimpleNamespace(
        columns=("arms", *votes),
        target=lambda name, rows: votes[name][rows],
        labels=lambda name, rows=None: (np.array([0, 1, 1]), ("tight", "loose")),
    )
    settings = SimpleNamespace(labels=("arms",), morphology=SimpleNamespace(votes_above=34, graded=False))
    comparison = SimpleNamespace(store=store, test=SimpleNamespace(rows=np.arange(3)), settings=settings)
    section = VotesSection.model_validate({"questions": {"arms": {"answers": ["many", "few"]}}})

    found = classes_of(comparison, section)

    assert found["arms"].names == ("tight", "loose")
    assert found["arms_votes"].names == ("many", "few")
    np.testing.assert_array_equal(found["arms_votes"].codes, [0, 1, 0])
