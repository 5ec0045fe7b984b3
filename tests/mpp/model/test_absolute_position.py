"""Tokens may be told their place: it adds nothing at first, and nothing along periodic axes unless asked."""

import math

import pytest
import torch

from polycli.mpp.model.absolute_position import WAVES, token_places, waves
from polycli.mpp.model.avit import AViT
from polycli.mpp.model.padding import OPEN, PERIODIC, WALL, Placement
from polycli.mpp.recipe.training import ModelSection

LABELS = torch.tensor([0, 1])


def network(axes):
    torch.manual_seed(0)
    sizes = {"embed_dim": 16, "num_heads": 2, "blocks": 1, "patch_size": 4, "drop_path": 0.0, "layer_scale": 0.5}
    return AViT(ModelSection(**sizes, absolute_position=axes)).eval()


def frames():
    return torch.randn(1, 3, 2, 8, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("axes", ["walls", "all"])
def test_a_new_network_is_the_same_with_places_as_without(axes):
    bcs = torch.tensor([[WALL, OPEN]])
    assert torch.equal(network(axes)(frames(), LABELS, bcs), network("none")(frames(), LABELS, bcs))


def test_places_count_along_axes_with_walls_alone_or_along_all():
    tokens = torch.zeros(2, 1, 2, 3, 16)
    bcs = torch.tensor([[PERIODIC, WALL], [WALL, PERIODIC]])  # along W, along H
    position, placement = network("walls").position, Placement.centred((8, 12), 4)
    torch.nn.init.ones_(position.height)
    torch.nn.init.constant_(position.width, 10.0)
    height = waves(torch.tensor([2, 6]) / 8).sum(dim=1)
    width = 10 * waves(torch.tensor([2, 6, 10]) / 12).sum(dim=1)
    added = position(tokens, bcs, placement)[:, 0, :, :, 0]
    torch.testing.assert_close(added[0], height[:, None].expand(2, 3))
    torch.testing.assert_close(added[1], width[None, :].expand(2, 3))
    position.axes = "all"
    torch.testing.assert_close(position(tokens, bcs, placement)[0, 0, :, :, 0], height[:, None] + width)


def test_a_token_keeps_its_place_when_the_grid_is_moved_against_the_patches():
    # Points 0 to 11 behind 3 added ones: the first token of 4 has its centre half a point before point 0's.
    padded = Placement((4, 12), (0, 3), (0, 1))
    torch.testing.assert_close(token_places(4, padded, 1, torch.device("cpu")), torch.tensor([-1, 3, 7, 11]) / 12)
    rolled = Placement((4, 12), (0, 0), (0, 0), (0, 5))
    torch.testing.assert_close(token_places(3, rolled, 1, torch.device("cpu")), torch.tensor([9, 1, 5]) / 12)


def test_places_are_described_by_half_waves():
    found = waves(torch.tensor([0.25]))[0]
    assert found.shape == (2 * WAVES,)
    assert found[0].item() == pytest.approx(math.cos(math.pi / 4))
    assert found[WAVES + 2].item() == pytest.approx(math.sin(3 * math.pi / 4))


def test_a_checkpoint_without_places_learns_them_and_one_with_them_forgets():
    model, bcs = network("none"), torch.tensor([[WALL, OPEN]])
    before = model(frames(), LABELS, bcs)
    model.tell_positions("all")
    assert model.section.absolute_position == "all"
    assert torch.equal(model(frames(), LABELS, bcs), before)
    torch.nn.init.ones_(model.position.height)
    assert not torch.equal(model(frames(), LABELS, bcs), before)
    model.tell_positions("walls")
    assert model.position.axes == "walls"
    assert model.position.height.sum() != 0, "what was learnt stays"
    model.tell_positions("none")
    assert torch.equal(model(frames(), LABELS, bcs), before)
    assert model.state_dict().keys() == network("none").state_dict().keys()
