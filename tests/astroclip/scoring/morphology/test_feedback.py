"""Marked examples: what good and bad ones add where one example misleads."""

import numpy as np
import pytest

from polycli.astroclip.scoring.morphology.feedback import Marking, feedback_scores
from polycli.astroclip.scoring.retrieval import unit
from polycli.report.bootstrap import Bootstrap


def test_bad_examples_take_away_what_the_class_has_in_common_with_others():
    """Members differ from the others in a weak direction; a strong one, in which nothing is said of them, misleads."""
    generator = np.random.default_rng(0)
    members = np.arange(200) < 30
    vectors = 3 * generator.standard_normal((200, 6))
    vectors[:, 0] = np.where(members, 1.5, -1.5)
    vectors[:, 1] += 6
    found = feedback_scores(
        unit(vectors.astype(np.float32)), members, members.astype(float), Marking(5, 40, 0), Bootstrap(200, 0)
    )

    assert found.good_and_bad.ndcg_at_10 > found.good.ndcg_at_10 > found.one.ndcg_at_10
    assert found.gain_interval[0] > 0
    # 25 members are left among 190: by chance ten places hold 10 * 25 / 190 of them.
    assert found.one.chance == pytest.approx(25 / 190)


def test_too_few_objects_of_a_class_cannot_be_marked():
    marking = Marking(5, 10, 0)

    assert not marking.possible(5, 100)
    assert not marking.possible(95, 100)
    assert marking.possible(6, 100)
