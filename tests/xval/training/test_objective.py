"""The loss between digits, against the distances worked out by hand and by scipy."""

import math

import pytest
import torch
from scipy.stats import wasserstein_distance

from polycli.xval.training.objective import digit_distances

#: Where the tokens 0 to 9 stand.
FIRST = 5


def logits_of(probabilities: dict[int, float]) -> torch.Tensor:
    """Logits of 20 tokens with these odds for digits, and most of the mass on a token that is none."""
    logits = torch.full((1, 20), -math.inf)
    logits[0, 2] = 10.0
    for digit, probability in probabilities.items():
        logits[0, FIRST + digit] = math.log(probability)
    return logits


@pytest.mark.parametrize(
    ("said", "truth", "distance"),
    [
        ({4: 1.0}, 4, 0.0),
        ({9: 1.0}, 4, 5.0),
        # The mean of these is 4: a squared error of the mean would be 0.
        ({3: 0.5, 5: 0.5}, 4, 1.0),
        ({0: 0.1, 1: 0.2, 7: 0.7}, 2, 0.1 * 2 + 0.2 * 1 + 0.7 * 5),
        (dict.fromkeys(range(10), 0.1), 0, 4.5),
    ],
)
def test_the_distance_is_the_mean_distance_to_the_true_digit(said, truth, distance):
    found = digit_distances(logits_of(said), torch.tensor([FIRST + truth]), FIRST)
    assert found.tolist() == pytest.approx([distance], abs=1e-6)
    assert found.item() == pytest.approx(
        wasserstein_distance(list(said), [truth], list(said.values()), [1.0]), abs=1e-6
    )


def test_targets_that_are_no_digits_have_none():
    logits = torch.randn(4, 20, requires_grad=True)
    found = digit_distances(logits, torch.tensor([FIRST - 1, FIRST, FIRST + 9, FIRST + 10]), FIRST)
    assert found.shape == (2,)
    found.sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[[0, 3]].any()
    assert not logits.grad[:, :FIRST].any()
    assert digit_distances(logits, torch.tensor([0, 1, 2, 3]), FIRST).sum() == 0
