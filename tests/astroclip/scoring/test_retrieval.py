"""Ranks, recall, alignment and uniformity against numbers worked out by hand."""

import math

import numpy as np
import pytest

from polycli.astroclip.scoring.measure import Side, score_retrieval
from polycli.astroclip.scoring.retrieval import (
    Ranks,
    alignment,
    ranks,
    ranks_by_distance,
    retrieval_scores,
    uniformity,
    unit,
)
from polycli.report.bootstrap import Bootstrap


def circle(*degrees):
    angle = np.deg2rad(np.array(degrees, np.float32))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def test_a_rank_counts_the_candidates_that_are_nearer():
    queries, candidates = circle(0, 90, 180), circle(10, 20, 120) * np.array([[5.0], [0.1], [1.0]], np.float32)
    # Query 1 at 90: candidate 2 (30 away) is nearer than candidate 1 (70 away). Query 2 at 180: its own is nearest.
    assert ranks(queries, candidates).middle.tolist() == [1, 2, 1]


def test_vectors_that_are_all_equal_rank_in_the_middle():
    same = np.ones((101, 3), np.float32)
    assert ranks(same, same).middle.tolist() == [51.0] * 101


def test_objects_that_are_there_twice_tie_wherever_they_stand():
    # 637 is no multiple of what a product is made of at a time.
    vectors = np.random.default_rng(0).standard_normal((500, 128)).astype(np.float32)
    found = ranks(*2 * (np.concatenate([vectors, vectors[:137]]),))
    twice = np.r_[0:137, 500:637]
    assert found.middle[twice].tolist() == [1.5] * 274
    assert found.middle[137:500].tolist() == [1.0] * 363


def test_recall_among_equal_vectors_is_the_chance_of_a_draw():
    # Three heaps of 19 equal vectors: of each, ten stand among the ten nearest.
    heaps = np.repeat(np.eye(3, dtype=np.float32), 19, axis=0)
    scores = retrieval_scores(ranks(heaps, heaps), (1, 10, 100), Bootstrap(samples=50))
    assert [scores.recall_at[str(k)].recall for k in (1, 10, 100)] == pytest.approx([1 / 19, 10 / 19, 1.0])
    assert scores.median_rank == 10


def test_blocks_of_queries_change_nothing():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 2500, 8)).astype(np.float32)
    similarity = unit(one).astype(np.float64) @ unit(other).astype(np.float64).T
    expected = 1 + (similarity > np.diag(similarity)[:, None]).sum(axis=1)
    assert ranks(one, other).middle.tolist() == expected.tolist()


def test_a_rank_by_distance_counts_the_candidates_that_are_nearer():
    queries, candidates = np.array([[1.0, 0], [0, 3], [1e4, 1]]), np.array([[1.2, 0], [0, 0], [1e4, 2]])
    # Query 1: the candidate at (1.2, 0) is 3.2 away, its own 3, the last 10,000. Query 2: its own is 1 away.
    assert ranks_by_distance(queries, candidates).middle.tolist() == [1, 1, 1]
    assert ranks_by_distance(queries[[1, 0, 2]], candidates).middle.tolist() == [2, 2, 1]
    assert ranks_by_distance(np.zeros((5, 2)), np.ones((5, 2))).middle.tolist() == [3] * 5


@pytest.mark.parametrize("density", [0.2, 1.0])
def test_truth_known_to_an_error_is_found_as_often_as_a_poisson_process_says(density):
    truth = np.random.default_rng(1).uniform(0, 4000 / density, (4000, 1))
    side = Side(np.arange(4000), {"shared_truth": truth, "image": truth, "spectrum": truth})

    found = score_retrieval(side, aligned=True, bootstrap=Bootstrap(samples=10))["shared_truth"].recall_at["1"]

    # The query is n away, n normal, and no other of 2 n times the density nearer: the mean of exp(-2 n density).
    expected = math.exp(2 * density**2) * math.erfc(math.sqrt(2) * density)
    assert found.recall == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 4000))
    assert "shared_truth" not in score_retrieval(side, aligned=False, bootstrap=Bootstrap(samples=10))


def test_recall_stands_beside_chance():
    scores = retrieval_scores(
        Ranks(np.array([0, 1, 10, 39]), np.zeros(4, np.int64)), (1, 10, 100), Bootstrap(samples=50)
    )
    assert [scores.recall_at[str(k)].recall for k in (1, 10, 100)] == [0.25, 0.5, 1.0]
    assert [scores.recall_at[str(k)].chance for k in (1, 10, 100)] == [0.25, 1.0, 1.0]
    assert (scores.median_rank, scores.chance_rank) == (6.5, 2.5)


def test_alignment_is_zero_for_equal_directions_and_four_for_opposite_ones():
    assert alignment(circle(10, 50), 3 * circle(10, 50)) == pytest.approx(0, abs=1e-6)
    assert alignment(circle(0, 90), circle(180, 270)) == pytest.approx(4, rel=1e-6)


def test_uniformity_is_zero_for_one_point_and_lower_the_more_even_the_points_are():
    assert uniformity(np.ones((50, 3), np.float32)) == pytest.approx(0, abs=1e-6)
    # Two opposite points: every pair is at squared distance 4.
    assert uniformity(circle(0, 180)) == pytest.approx(-8, rel=1e-6)
    rng = np.random.default_rng(0)
    even, bunched = rng.standard_normal((2, 2000, 8)).astype(np.float32)
    bunched[:, 0] += 3
    assert uniformity(even) < uniformity(bunched) - 1
