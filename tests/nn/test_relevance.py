"""Queries made of examples."""

import numpy as np

from polycli.nn.relevance import remade_query


def test_a_query_of_examples_is_the_mean_direction_less_half_of_the_unwanted_one():
    generator = np.random.default_rng(0)
    like, unlike = generator.standard_normal((2, 5, 8)).astype(np.float32)

    def mean(vectors):
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(axis=0)

    np.testing.assert_allclose(remade_query(like, unlike), mean(like) - 0.5 * mean(unlike), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(remade_query(3 * like), mean(like), rtol=1e-5, atol=1e-6)
