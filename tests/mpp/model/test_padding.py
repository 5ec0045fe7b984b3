"""Axes that the patch size does not divide are lengthened as their boundary says, and cut back to the same points."""

import numpy as np
import pytest
import torch

from polycli.mpp.model.padding import OPEN, PERIODIC, WALL, crop_to_grid, missing_points, pad_to_patches

#: What numpy calls the rule of each boundary.
RULES = {WALL: "symmetric", PERIODIC: "wrap", OPEN: "edge"}


@pytest.mark.parametrize("along_h", RULES)
@pytest.mark.parametrize("along_w", RULES)
@pytest.mark.parametrize("grid", [(30, 45), (3, 5), (16, 31)])
def test_each_axis_is_lengthened_as_numpy_does_by_the_rule_of_its_boundary(along_h, along_w, grid):
    x = torch.randn(2, 3, 2, *grid)
    padded = pad_to_patches(x, torch.tensor([[along_w, along_h]] * 2), 16)
    still = ((0, 0),) * 3
    expected = np.pad(x.numpy(), (*still, missing_points(grid[0], 16), (0, 0)), mode=RULES[along_h])
    expected = np.pad(expected, (*still, (0, 0), missing_points(grid[1], 16)), mode=RULES[along_w])
    assert padded.shape[3] % 16 == padded.shape[4] % 16 == 0
    assert np.array_equal(padded.numpy(), expected)
    assert torch.equal(crop_to_grid(padded[:, 0], grid, 16), x[:, 0])


def test_samples_of_one_batch_may_have_different_boundaries():
    x = torch.randn(3, 1, 1, 10, 16)
    flags = torch.tensor([[0, WALL], [0, PERIODIC], [0, OPEN]])
    together = pad_to_patches(x, flags, 16)
    alone = torch.cat([pad_to_patches(x[n : n + 1], flags[n : n + 1], 16) for n in range(3)])
    assert torch.equal(together, alone)


def test_a_grid_that_the_patch_size_divides_is_not_copied():
    x = torch.randn(1, 2, 1, 32, 48)
    assert pad_to_patches(x, torch.zeros(1, 2, dtype=torch.long), 16) is x
