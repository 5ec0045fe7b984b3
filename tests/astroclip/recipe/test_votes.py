"""Decision trees in recipes: those of Galaxy Zoo by name, own ones, and trees that cannot be walked."""

import numpy as np
import pytest
from pydantic import ValidationError

from polycli.astroclip.recipe.model import PropertySection
from polycli.astroclip.recipe.votes import AS_WRITTEN, VotesSection
from polycli.astroclip.scoring.morphology.columns import leaves, vote_columns

OWN = {
    "round": {"answers": ["round_yes", "round_no"]},
    "ring": {"answers": ["ring_yes", "ring_no"], "after": {"round": "round_yes"}},
}


def test_the_tree_of_galaxy_zoo_decals_has_its_columns_and_its_order():
    section = VotesSection(tree="gz_decals")

    assert len(section.questions) == 10
    assert len(section.columns) == 34
    assert section.columns[:4] == (
        "smooth-or-featured_smooth", "smooth-or-featured_featured-or-disk", "smooth-or-featured_artifact",
        "disk-edge-on_yes",
    )  # fmt: skip
    assert section.questions["spiral-winding"].parents() == {"has-spiral-arms": ("has-spiral-arms_yes",)}
    assert section.slices()["disk-edge-on"] == slice(3, 5)


@pytest.mark.parametrize("tree", ["gz_decals", "gz2", "mock"])
def test_a_tree_by_name_is_spelled_out_and_read_again(tree):
    section = VotesSection(tree=tree)
    written = section.model_dump(mode="json")

    assert VotesSection.model_validate(written) == section
    assert set(written["questions"]) == set(section.questions)


def test_a_question_that_is_left_out_takes_those_along_that_follow_it_alone():
    section = VotesSection(tree="gz_decals", leave_out=("has-spiral-arms", "merging"))

    left = set(VotesSection(tree="gz_decals").questions) - set(section.questions)
    assert left == {"has-spiral-arms", "merging", "spiral-winding", "spiral-arm-count"}
    assert VotesSection.model_validate(section.model_dump(mode="json")) == section


def test_an_own_tree_has_answers_in_short():
    section = VotesSection.model_validate({"questions": OWN})

    assert section.columns == ("round_yes", "round_no", "ring_yes", "ring_no")
    assert section.labels("ring") == ("yes", "no")


def test_answers_that_would_be_called_alike_in_short_keep_the_names_of_their_columns():
    """Two answers were one class in predict and eval, with the members of the last."""
    section = VotesSection.model_validate({"questions": {"ring": {"answers": ["yes", "ring_yes", "ring_no_count"]}}})
    assert section.labels("ring") == ("yes", "ring_yes", "ring_no_count")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "tree and questions are both absent"),
        ({"tree": "mock", "questions": OWN}, "tree mock has its own questions"),
        ({"questions": {"a": {"answers": ["a_yes"]}}}, "at least 2"),
        ({"questions": {"leaf": {"answers": ["x", "y"]}}}, "a question is called leaf"),
        ({"questions": {"x": {"answers": ["a", "b"]}, "x_asked": {"answers": ["c", "d"]}}}, "is called x_asked, as a"),
        ({"questions": {"x": {"answers": ["a", "b"]}, "a_fraction": {"answers": ["c", "d"]}}}, "is called a_fraction"),
        ({"tree": "mock", "leave_out": ["arms"]}, "leave_out names arms, and the questions of mock are shape, edge_on"),
        ({"questions": OWN, "leave_out": ["ring"]}, "leave_out is for the questions of tree"),
        ({"questions": {**OWN, "more": {"answers": ["ring_yes", "x"]}}}, "column ring_yes is an answer of ring and of"),
        ({"questions": {**OWN, "more": {"answers": ["x", "y"], "after": {"rnd": "z"}}}}, "after rnd, which is no"),
        ({"questions": {**OWN, "more": {"answers": ["x", "y"], "after": {"ring": "no"}}}}, "the answer no to ring"),
        ({"questions": {"ring": OWN["ring"], "round": OWN["round"]}}, "asked after round, which stands behind it"),
    ],
)
def test_a_tree_that_cannot_be_walked_is_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        VotesSection.model_validate(given)


def test_a_column_is_not_voted_on_and_regressed_at_once():
    with pytest.raises(ValidationError, match="bar_yes stands under votes and under regression"):
        PropertySection.model_validate({"votes": {"tree": "mock"}, "regression": ["bar_yes"]})


def test_a_checkpoint_answers_its_own_questions_whatever_its_tree_has_become():
    written = {"tree": "mock", "questions": OWN, "leave_out": ["no_longer_there"]}

    assert VotesSection.model_validate(written, context=AS_WRITTEN).columns == (
        *("round_yes", "round_no", "ring_yes", "ring_no"),
    )
    assert VotesSection.model_validate({"tree": "mock"}, context=AS_WRITTEN) == VotesSection(tree="mock")


def test_a_leaf_is_the_path_that_the_likeliest_answers_walk_question_by_question():
    """Beside a walk of each object by itself; several answers of several questions lead to one."""
    section = VotesSection(
        questions={
            **OWN,
            "size": {"answers": ["small", "middling", "large"]},
            "bar": {"answers": ["bar_yes", "bar_no"], "after": {"ring": "ring_no", "size": ["small", "large"]}},
        }
    )
    generator = np.random.default_rng(0)
    fractions = {
        name: generator.dirichlet(np.ones(len(question.answers)), 200) for name, question in section.questions.items()
    }
    for count in (200, 1, 0):
        walked = []
        for row in range(count):
            path = []
            for name, question in section.questions.items():
                before = [answer for answers in question.parents().values() for answer in answers]
                if not before or set(before) & set(path):
                    path.append(question.answers[int(np.argmax(fractions[name][row]))])
            walked.append(", ".join(path))
        found = leaves(section, {name: values[:count] for name, values in fractions.items()})
        assert found.dtype == object
        assert found.tolist() == walked


@pytest.mark.parametrize("name", ["leaf", "bar_asked", "bar_yes_fraction"])
def test_a_property_has_no_name_that_predict_gives_to_a_column_of_votes(name):
    """One column of the two was lost."""
    with pytest.raises(ValidationError, match=f"{name} of regression or classification is what predict calls"):
        PropertySection.model_validate({"votes": {"tree": "mock"}, "regression": [name]})


def test_the_names_are_those_of_the_columns_that_predict_writes():
    section = VotesSection(tree="mock")
    made = vote_columns(section, {name: np.ones((1, 2), np.float32) for name in section.questions})
    assert {name for name in made if not name.endswith(("_low90", "_high90"))} == section.predicted_names()
