"""Rolling forward: one function for eval and predict, and what it must beat."""

import numpy as np
import pytest
import torch
from torch import nn

from polycli.errors import StoreError
from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.scoring.baselines import linear_extrapolation, persistence
from polycli.mpp.scoring.rollout import Conditions, conditions, next_frame, rollout
from polycli.mpp.scoring.score_records import StepsBelow
from polycli.mpp.scoring.summarise import steps_below

READ = Conditions(labels=(2, 0), boundaries=(0, 1))


class SumOfContext(nn.Module):
    """The sum over time of what it is given; remembers labels and boundaries."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.seen = []

    def forward(self, x, labels, boundaries):
        self.seen.append((labels.tolist(), boundaries.tolist(), torch.is_grad_enabled()))
        return self.weight * x.sum(dim=1)


def test_a_rollout_feeds_back_its_frames_and_drops_the_oldest():
    model = SumOfContext()
    context = torch.tensor([1.0, 1.0])[None, :, None, None, None].expand(3, 2, 2, 4, 4)
    frames = list(rollout(model, context, READ, 6))
    assert [frame[1, 1, 2, 3].item() for frame in frames] == [2, 3, 5, 8, 13, 21], "Fibonacci, from two ones"
    assert frames[0].shape == (3, 2, 4, 4)
    assert model.seen == [([2, 0], [[0, 1]] * 3, False)] * 6


def test_a_rollout_is_lazy_and_its_first_frame_is_the_one_step_prediction():
    model = SumOfContext()
    context = torch.randn(2, 3, 2, 4, 4)
    steps = rollout(model, context, READ, 1000)
    first = next(steps)
    assert len(model.seen) == 1
    assert torch.equal(first, next_frame(model, context, READ))


def test_baselines_are_exact_where_they_should_be():
    time = torch.arange(9.0)[None, :, None, None, None]
    slope, start = torch.randn(2, 1, 3, 4, 4), torch.randn(2, 1, 3, 4, 4)
    linear, still = start + slope * time, start.expand(2, 9, 3, 4, 4)
    for step in (1, 2, 5):
        assert torch.allclose(linear_extrapolation(linear[:, :4], step), linear[:, 3 + step], atol=1e-5)
        assert torch.equal(persistence(still[:, :4], step), still[:, 3 + step])
        assert torch.equal(persistence(linear[:, :4], step), linear[:, 3])


def about(fields=("a.one", "a.two"), grid=(16, 24), x="periodic", y="wall"):
    return PdeDescription(
        physics="a",
        fields=fields,
        units=("",) * len(fields),
        dt=1.0,
        grid=grid,
        extent=((0.0, 1.0), (0.0, 1.0)),
        boundary_conditions={"x": x, "y": y},
        parameter_names=(),
        constants={},
    )


def test_fields_meet_the_model_by_name_and_boundaries_in_its_order():
    found = conditions("d", about(), known=("a.two", "b.other", "a.one"))
    assert found == Conditions(labels=(2, 0), boundaries=(0, 1)), "y, along W, comes first"


def test_unknown_fields_and_a_grid_that_patches_do_not_divide_are_named():
    with pytest.raises(StoreError, match=r"d: the model does not know the field a.two; it knows a.one \(") as caught:
        conditions("d", about(), known=("a.one", "unused.10"))
    assert caught.value.exit_code == 2


def test_steps_below_persistence_are_counted_from_the_first_without_a_gap():
    persistent = np.ones((3, 5, 1))
    model = np.array([[0.5, 0.5, 2, 0.5, 0.5], [0.5] * 5, [1.0, 0.1, 0.1, 0.1, 0.1]])[..., None]
    found = steps_below({"model": model, "persistence": persistent})
    # Means over trajectories: 0.67, 0.37, 0.87, 0.37, 0.37: all below one.
    assert found == StepsBelow(mean_curve=5, median=2.0, least=0, of=5)
