"""The ConvNeXt U-Net: shapes on any grid, and shifts of a periodic grid."""

import pytest
import torch

from polycli.mpp.model.baselines.sides import with_margins
from polycli.mpp.model.baselines.unet import ConvNextUnet
from polycli.mpp.model.padding import pad_to_patches
from polycli.mpp.recipe.networks import UnetSection

FIELDS = ("a.one", "a.two", "b.three")
PERIODIC, WALLS = torch.tensor([[1, 1]]), torch.tensor([[0, 0]])


def unet(**changes) -> ConvNextUnet:
    torch.manual_seed(3)
    sizes = {"width": 4, "stages": 2, "blocks_per_stage": 1, "history": 2, "fields": FIELDS, "layer_scale": 0.5}
    return ConvNextUnet(UnetSection(kind="unet", **sizes | changes)).double().eval()


@pytest.mark.parametrize("grid", [(16, 16), (8, 12), (9, 15), (4, 4)])
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_the_answer_has_the_grid_of_the_frames(grid, stages):
    model = unet(stages=stages)
    answer = model(torch.randn(2, 2, 2, *grid, dtype=torch.float64), torch.tensor([2, 0]), WALLS.expand(2, 2))
    assert answer.shape == (2, 2, *grid)
    assert torch.isfinite(answer).all()
    assert model.features(torch.randn(1, 2, 3, *grid), torch.arange(3), WALLS).shape == (1, *grid, 4)


def test_it_commutes_with_shifts_of_a_periodic_grid_by_whole_coarsest_points():
    model = unet()
    x, labels = torch.randn(1, 2, 3, 16, 8, dtype=torch.float64), torch.arange(3)
    shifted = model(x.roll((4, 8), (3, 4)), labels, PERIODIC)
    torch.testing.assert_close(shifted, model(x, labels, PERIODIC).roll((4, 8), (2, 3)))
    at_walls = model(x.roll((4, 8), (3, 4)), labels, WALLS)
    assert (at_walls - model(x, labels, WALLS).roll((4, 8), (2, 3))).abs().max() > 1e-3


def test_samples_of_one_batch_with_other_sides_get_what_they_get_alone():
    model = unet()
    x, labels = torch.randn(3, 2, 2, 8, 8, dtype=torch.float64), torch.tensor([0, 2])
    bcs = torch.tensor([[1, 1], [0, 2], [2, 1]])
    together = model(x, labels, bcs)
    for sample in range(3):
        alone = model(x[sample : sample + 1], labels, bcs[sample : sample + 1])
        torch.testing.assert_close(together[sample : sample + 1], alone)


@pytest.mark.parametrize("reach", [1, 3, 5])
def test_margins_are_those_of_the_rule_that_lengthens_grids(reach):
    x, bcs = torch.randn(3, 4, 6, 2), torch.tensor([[1, 0], [0, 2], [2, 1]])
    margins = with_margins(x, bcs, reach)
    # A patch of 4 + 2 * reach points has one multiple there, half of the missing points before and half behind.
    tall = pad_to_patches(x.permute(0, 3, 1, 2)[:, None, :, :, :4], bcs, 4 + 2 * reach)
    of_columns = with_margins(x[:, :, :4], bcs, reach)
    torch.testing.assert_close(of_columns, tall[:, 0].permute(0, 2, 3, 1))
    assert margins.shape == (3, 4 + 2 * reach, 6 + 2 * reach, 2)
