"""nDCG within ten: as scikit-learn has it, by chance as orders at random have it, and by class as a loop has it."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from polycli.astroclip.scoring.morphology.gain import nearest, normalised_gain
from polycli.astroclip.scoring.retrieval import unit


@pytest.mark.parametrize("graded", [False, True])
def test_each_query_reaches_what_scikit_learn_says(graded):
    generator = np.random.default_rng(1)
    vectors = unit(generator.standard_normal((60, 4)).astype(np.float32))
    gains = generator.random(60).round(1) if graded else (generator.random(60) < 0.15).astype(float)
    queries = np.flatnonzero(gains > 0)

    reached, _ = normalised_gain(gains[nearest(vectors, queries)], gains, gains[queries])

    for query, found in zip(queries, reached, strict=True):
        others = np.arange(60) != query
        similarity = vectors[others] @ vectors[query]
        assert found == pytest.approx(ndcg_score([gains[others]], [similarity], k=10), abs=1e-6)


def test_chance_is_the_mean_over_orders_at_random():
    generator = np.random.default_rng(2)
    gains = np.array([1.0] * 4 + [0.0] * 36)
    others = gains[1:]
    found = np.array([generator.permutation(others)[:10] for _ in range(20_000)])
    reached, chance = normalised_gain(found, gains, np.ones(len(found)))

    assert chance[0] == pytest.approx(reached.mean(), abs=0.005)


def test_all_members_first_is_1_however_few_there_are():
    gains = np.array([1.0, 1.0, 1.0, 0, 0, 0])
    reached, _ = normalised_gain(np.array([[1.0, 1, 0, 0, 0]]), gains, np.ones(1))

    assert reached[0] == 1


def test_the_nearest_are_those_of_a_whole_sort():
    vectors = unit(np.random.default_rng(3).standard_normal((700, 6)).astype(np.float32))
    similarity = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(similarity, -np.inf)

    assert np.array_equal(nearest(vectors, np.arange(700)), np.argsort(-similarity, axis=1)[:, :10])
