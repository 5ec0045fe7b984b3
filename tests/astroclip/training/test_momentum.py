"""Momentum contrast: the queue is a function of the samples alone, and state that is saved."""

import pytest
import torch

from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.recipe.model import AugmentationSection, ImageSection, ModelSection
from polycli.astroclip.recipe.objectives import MocoSection
from polycli.astroclip.training.momentum import MomentumContrast
from tests.astroclip.training.start_ranks import start

IMAGE = ImageSection(size=24, patch_size=12, embed_dim=16, depth=1, num_heads=2, layer_scale=0.1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    section = MocoSection(queue_size=10, projection=4, momentum=0.75)
    return MomentumContrast(AstroClip(ModelSection(image=IMAGE)), section, AugmentationSection(), bands=("g", "r", "z"))


def batch(start=0, count=4, place=(0, 1)):
    images = 0.1 * torch.randn(count, 3, 30, 30, generator=torch.Generator().manual_seed(start))
    return {"image": images, "keys": keys_of(0, torch.arange(start, start + count)), "place": torch.tensor(place)}


@pytest.mark.slow
@pytest.mark.distributed
def test_two_ranks_leave_the_queue_and_the_weights_that_one_leaves(tmp_path):
    images = 0.1 * torch.randn(8, 3, 30, 30, generator=torch.Generator().manual_seed(0))
    torch.save({"image": images}, tmp_path / "inputs.pt")
    for ranks in (1, 2):
        start("moco", tmp_path, ranks)
    one, two = (torch.load(tmp_path / f"outputs-{ranks}.pt", weights_only=True) for ranks in (1, 2))

    assert one["queue_place"].tolist() == two["queue_place"].tolist() == [24 % 20]
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_keys_of_a_step_enter_the_queue_in_order_and_only_at_its_end(model):
    before = model.queue.clone()

    model(batch(0, place=(0, 2)))
    assert torch.equal(model.queue, before)
    model(batch(4, place=(1, 2)))

    assert model.queue_place.tolist() == [8]
    assert torch.equal(model.queue[8:], before[8:])
    torch.testing.assert_close(model.queue[:8].norm(dim=1), torch.ones(8))
    model(batch(8))
    assert model.queue_place.tolist() == [2]
    assert not torch.equal(model.queue[8:], before[8:])


def test_the_momentum_encoder_follows_once_per_step_by_the_momentum(model):
    weight = model.network.image_encoder.backbone.norm.weight
    follower = model.momentum.get_buffer("backbone.norm.weight")
    with torch.no_grad():
        weight.fill_(2.0)

    model(batch(0, place=(0, 2)))
    model(batch(4, place=(1, 2)))

    torch.testing.assert_close(model.momentum.get_buffer("backbone.norm.weight"), torch.full_like(follower, 1.25))


def test_no_optimizer_sees_the_momentum_encoder_and_every_save_does(model):
    assert not any(name.startswith("momentum") for name, _ in model.named_parameters())
    state = model.state_dict()
    trained = {f"momentum.backbone.{name}" for name, _ in model.network.image_encoder.backbone.named_parameters()}
    assert trained | {"queue", "queue_place"} <= state.keys()
    assert not any("momentum" in name or "queue" in name for name in model.network.state_dict())


def test_a_step_that_is_not_a_number_does_not_reach_the_queue(model):
    before = model.queue.clone()
    bad = batch()
    bad["image"][1] = torch.nan

    model(bad)

    assert torch.equal(model.queue, before)
    assert model.queue_place.tolist() == [0]


def test_validation_changes_nothing(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}

    _, metrics = model.eval()(batch())

    assert metrics["one"].shape == metrics["other"].shape == (4, 4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_loss_is_a_cross_entropy_over_key_and_queue(model):
    given = batch()
    queue = model.queue.clone()
    loss, _ = model(given)

    # The keys of the step are in the queue now; the queries are made anew from the same views.
    keys = model.queue[:4]
    model.eval()
    queries = model(given)[1]["one"]
    logits = torch.cat([(queries * keys).sum(1, keepdim=True), queries @ queue.T], dim=1) / 0.2
    torch.testing.assert_close(loss, -logits.log_softmax(dim=1)[:, 0].mean())
