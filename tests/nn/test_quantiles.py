"""Quantiles of a network rise, and the pinball loss finds them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polycli.nn.quantiles import middle_of, pinball, rising


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=7), st.integers(0, 6))
def test_quantiles_never_cross(raw, middle):
    middle = min(middle, len(raw) - 1)
    found = rising(torch.tensor([raw]), middle)[0]
    assert (found.diff() >= 0).all()
    assert found[middle] == torch.tensor(raw)[middle]


def test_the_middle_is_the_level_nearest_to_the_median():
    assert middle_of((0.05, 0.45, 0.9)) == 1
    assert middle_of((0.9,)) == 0


def test_the_pinball_loss_is_least_at_the_quantile():
    sample = torch.from_numpy(np.random.default_rng(0).normal(size=4001)).float()
    candidates = torch.linspace(-3, 3, 601)
    for level in (0.1, 0.5, 0.9):
        losses = torch.stack([pinball(c.expand(len(sample), 1), sample, (level,)).mean() for c in candidates])
        best = float(candidates[losses.argmin()])
        assert best == pytest.approx(float(np.quantile(sample.numpy(), level)), abs=0.011)
