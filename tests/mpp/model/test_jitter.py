"""Jitter moves the grid against the patches and back, exactly, by draws that depend on nothing but their names."""

import numpy as np
import pytest
import torch

from polycli.mpp.model.avit import AViT
from polycli.mpp.model.jitter import Draw, jittered, widened_grid
from polycli.mpp.model.padding import OPEN, PERIODIC, WALL, Placement, missing_points
from polycli.mpp.recipe.training import ModelSection
from polycli.mpp.scoring.rollout import Conditions, rollout

RULES = {WALL: "symmetric", PERIODIC: "wrap", OPEN: "edge"}
LABELS = torch.tensor([3, 0])


def network(**changes):
    sizes = {"embed_dim": 16, "num_heads": 2, "blocks": 2, "patch_size": 4, "drop_path": 0.0, "layer_scale": 0.5}
    torch.manual_seed(0)
    return AViT(ModelSection(**sizes | changes)).double().eval()


def frames(*grid, batch=2):
    return torch.randn(batch, 3, 2, *grid, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def sides(along_w, along_h, batch=2):
    return torch.tensor([[along_w, along_h]] * batch)


@pytest.mark.parametrize("along_h", RULES)
@pytest.mark.parametrize("along_w", RULES)
@pytest.mark.parametrize("grid", [(8, 12), (9, 14)])
def test_what_a_placement_moves_it_moves_back_and_what_it_adds_is_the_boundarys(along_h, along_w, grid):
    x = frames(*grid)
    for step in range(6):
        draw = Draw(7, step)
        placement = jittered(grid, sides(along_w, along_h), 4, draw.fractions)
        laid = placement.lay(x, sides(along_w, along_h))
        expected = x.numpy()
        for axis, rule in ((0, along_h), (1, along_w)):
            low, high = missing_points(grid[axis], 4)
            moved = int(draw.fractions[axis] * (grid[axis] if rule == PERIODIC else 4))
            widths = (low, high) if rule == PERIODIC else (low + moved, high + 4 - moved)
            if rule == PERIODIC:
                expected = np.roll(expected, moved, axis=3 + axis)
            expected = np.pad(expected, [widths if n == 3 + axis else (0, 0) for n in range(5)], mode=RULES[rule])
        assert np.array_equal(laid.numpy(), expected)
        assert laid.shape[3] % 4 == laid.shape[4] % 4 == 0
        assert torch.equal(placement.take_back(laid[:, 0]), x[:, 0])
        whole = tuple(points + missing for points, missing in zip(grid, (-grid[0] % 4, -grid[1] % 4), strict=True))
        assert laid.shape[3:] == widened_grid(whole, (along_w, along_h), 4)


def test_on_a_periodic_grid_a_move_by_whole_patches_changes_nothing():
    # Five patches and three: on a ring of an even number, the published bias tells the two ways to the opposite apart.
    model, x = network(jitter="always"), frames(20, 12)
    plain = network()(x, LABELS, sides(PERIODIC, PERIODIC))
    moved = Placement((20, 12), (0, 0), (0, 0), (8, 4))
    model._placement = lambda *_: moved
    torch.testing.assert_close(model(x, LABELS, sides(PERIODIC, PERIODIC)), plain, rtol=1e-9, atol=1e-9)
    moved = Placement((20, 12), (0, 0), (0, 0), (2, 0))
    assert not torch.allclose(model(x, LABELS, sides(PERIODIC, PERIODIC)), plain, rtol=1e-3)


@pytest.mark.parametrize("predicts", ["state", "change"])
def test_on_a_periodic_grid_a_jittered_frame_is_the_plain_one_of_moved_input_moved_back(predicts):
    x, bcs, draw = frames(20, 12), sides(PERIODIC, PERIODIC), Draw(0, 5)
    rolled = tuple(int(fraction * points) for fraction, points in zip(draw.fractions, (20, 12), strict=True))
    assert any(points % 4 for points in rolled), "the test would show nothing"
    expected = network(predicts=predicts)(x.roll(rolled, (-2, -1)), LABELS, bcs).roll([-n for n in rolled], (-2, -1))
    found = network(predicts=predicts, jitter="always")(x, LABELS, bcs, draw)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_jitter_of_training_alone_leaves_forecasts_bit_for_bit():
    x, bcs = frames(20, 12), sides(PERIODIC, WALL)
    assert torch.equal(network(jitter="training")(x, LABELS, bcs, Draw(3, 2)), network()(x, LABELS, bcs))
    assert not torch.equal(network(jitter="always")(x, LABELS, bcs, Draw(3, 2)), network()(x, LABELS, bcs))


@pytest.mark.parametrize("jitter", ["training", "always"])
def test_training_draws_from_the_generator_that_the_engine_seeds(jitter):
    model, x, bcs = network(jitter=jitter).train(), frames(20, 12), sides(WALL, PERIODIC)
    torch.manual_seed(5)
    first, second = model(x, LABELS, bcs), model(x, LABELS, bcs)
    torch.manual_seed(5)
    assert torch.equal(model(x, LABELS, bcs), first)
    assert not torch.equal(first, second)


def test_a_forecast_does_not_depend_on_its_company_and_another_seed_gives_another_one():
    model, x, read = network(jitter="always").float(), frames(20, 12, batch=3).float(), Conditions((3, 0), (1, 0))
    together = list(rollout(model, x, read, 4))
    alone = list(rollout(model, x[2:], read, 4))
    again = list(rollout(model, x, read, 4))
    other = list(rollout(model, x, read, 4, seed=1))
    for step in range(4):
        assert torch.equal(together[step], again[step])
        torch.testing.assert_close(together[step][2:], alone[step], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(together[step], other[step], rtol=1e-4)


def test_draws_are_spread_evenly_and_are_not_those_of_torch():
    torch.manual_seed(0)
    draws = np.array([Draw(1, step).fractions for step in range(4000)])
    torch.manual_seed(1)
    assert Draw(1, 17).fractions == tuple(draws[17])
    counts = np.stack([np.bincount((4 * column).astype(int), minlength=4) for column in draws.T])
    # Five standard deviations of a binomial count of 4,000 with probability 1/4.
    assert np.abs(counts - 1000).max() < 5 * (4000 * 0.25 * 0.75) ** 0.5
    assert abs(np.corrcoef(draws.T)[0, 1]) < 5 / 4000**0.5
