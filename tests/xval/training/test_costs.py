"""What a training of xVal costs, against counts by hand."""

import pytest

from polycli.xval.recipe.model import ModelSection
from polycli.xval.training.costs import activation_bytes, flops_per_record

WIDTH, HIDDEN, TOKENS = 16, 40, 30
SIZES = {"embed_dim": WIDTH, "num_heads": 2, "blocks": 5, "feed_forward": HIDDEN, "context": 64}


@pytest.mark.parametrize("length", [1.0, 7.0, 36.25])
@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        ({"encoding": "fp15", "causal": True}, 0),
        ({}, WIDTH * HIDDEN + HIDDEN),
        ({"quantiles": (0.1, 0.5, 0.9)}, 2 * WIDTH * HIDDEN + 4 * HIDDEN),
    ],
)
def test_operations_of_a_record_are_those_counted_by_hand(changes, numbers, length):
    # Queries, keys, values and output; the feed-forward network; one score and one sum per pair of tokens.
    layer = 4 * length * WIDTH**2 + 2 * length * WIDTH * HIDDEN + 2 * length**2 * WIDTH
    heads = WIDTH * HIDDEN + HIDDEN * TOKENS + numbers
    found = flops_per_record(ModelSection(**SIZES, **changes), TOKENS, length, 0.3 * length)
    assert found == pytest.approx(2 * (5 * layer + 0.3 * length * heads), rel=1e-12)


def test_activations_grow_with_the_layers_and_shrink_when_recomputed():
    costs = {
        (blocks, recompute): activation_bytes(
            ModelSection(**SIZES | {"blocks": blocks}), 4, TOKENS, 0.0, recompute=recompute
        )
        for blocks in (4, 5, 6)
        for recompute in (False, True)
    }
    assert costs[6, False] - costs[5, False] == costs[5, False] - costs[4, False] > 0
    # A recomputed layer keeps its input alone.
    assert costs[6, True] - costs[5, True] == 4 * 4 * 64 * WIDTH
