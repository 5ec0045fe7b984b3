"""Self-distillation: loss, schedules, teacher and centres: functions of the samples alone, and state that is saved."""

import math

import numpy as np
import pytest
import torch

from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.recipe.model import AugmentationSection, ImageSection, ModelSection
from polycli.astroclip.recipe.objectives import Dinov2Section
from polycli.astroclip.training.distillation import SelfDistillation
from tests.astroclip.training.start_ranks import start

IMAGE = ImageSection(size=24, patch_size=6, embed_dim=16, depth=1, num_heads=2, layer_scale=0.1)
SECTION = Dinov2Section(
    local_crops=2, local_size=12, prototypes=6, head_width=8, bottleneck=4, teacher_warmup_steps=4,
    momentum=0.5, freeze_last_layer_steps=0, centre_momentum=0.75,
)  # fmt: skip


def model_of(**changes):
    torch.manual_seed(0)
    network = AstroClip(ModelSection(image=IMAGE))
    section = SECTION.model_copy(update=changes)
    return SelfDistillation(network, section, AugmentationSection(), bands=("g", "r", "z"), steps=5)


def batch(start=0, count=4, place=(0, 1)):
    images = 0.1 * torch.randn(count, 3, 30, 30, generator=torch.Generator().manual_seed(start))
    return {"image": images, "keys": keys_of(0, torch.arange(start, start + count)), "place": torch.tensor(place)}


def test_the_loss_is_that_of_the_formulas(monkeypatch):
    model = model_of(koleo_weight=0.0)
    said = {}

    def keep(name):
        original = getattr(model, name)

        def keeping(*arguments):
            said[name] = original(*arguments)
            return said[name]

        monkeypatch.setattr(model, name, keeping)

    for name in ("_teacher_says", "_student_says"):
        keep(name)
    given = batch()
    hidden = torch.cat([model._hidden(given, view) for view in range(2)]).numpy()
    loss, metrics = model(given)

    def shares(logits, temperature):
        scaled = np.exp(logits.detach().double().numpy() / temperature)
        return scaled / scaled.sum(axis=1, keepdims=True)

    teacher, student = said["_teacher_says"][0], said["_student_says"][0]
    target, guess = shares(teacher.whole, 0.04), shares(student.whole, 0.1)
    pairs = [
        -(target[4 * one : 4 * one + 4] * np.log(guess[4 * other : 4 * other + 4])).sum(axis=1).mean()
        for one in range(2)
        for other in range(4)
        if one != other
    ]
    of_patches = -(shares(teacher.patches, 0.04) * np.log(shares(student.patches, 0.1))).sum(axis=1)
    images = np.nonzero(hidden)[0]
    by_image = [of_patches[images == image].mean() if (images == image).any() else 0.0 for image in range(8)]

    assert 0 < len(images) < hidden.size
    assert float(metrics["crops"]) == pytest.approx(np.mean(pairs), rel=1e-5)
    assert float(metrics["patches"]) == pytest.approx(np.mean(by_image), rel=1e-5)
    assert float(loss.detach()) == pytest.approx(np.mean(pairs) + np.mean(by_image), rel=1e-5)


def test_the_schedules_rise_as_the_recipe_says():
    model = model_of()
    temperatures, momenta = [], []
    for _ in range(5):
        temperatures.append(model.teacher_temperature())
        momenta.append(model.momentum())
        model(batch())

    assert temperatures == pytest.approx([0.04, 0.0475, 0.055, 0.0625, 0.07])
    assert momenta == pytest.approx([1 - 0.5 * (1 + math.cos(math.pi * step / 4)) / 2 for step in range(5)])


def test_the_teacher_follows_once_per_step_by_the_momentum_of_the_step_before():
    model = model_of()
    weight = model.network.image_encoder.backbone.norm.weight
    model(batch())
    with torch.no_grad():
        weight.fill_(2.0)
    assert float(model.teacher.image_encoder.backbone.norm.weight.mean()) == 1

    model(batch(place=(0, 2)))
    model(batch(4, place=(1, 2)))

    assert float(model.teacher.image_encoder.backbone.norm.weight.mean()) == pytest.approx(1.5)


def test_the_centre_moves_at_the_end_of_a_step_by_the_mean_of_all_its_micro_batches():
    whole, parts = model_of(masked_images=0.0), model_of(masked_images=0.0)
    given = batch()
    whole(given)
    for index in range(2):
        rows = slice(2 * index, 2 * index + 2)
        parts({"image": given["image"][rows], "keys": given["keys"][rows], "place": torch.tensor([index, 2])})
        assert index or torch.equal(parts.centre, torch.zeros(6))

    assert whole.centre.abs().sum() > 0
    torch.testing.assert_close(parts.centre, whole.centre)
    assert torch.equal(whole.patch_centre, torch.zeros(6))  # no patch was hidden


def test_no_optimizer_sees_the_teacher_and_every_save_does():
    model = model_of(separate_heads=True)
    trained = {name for name, _ in model.named_parameters()}
    state = model.state_dict()
    assert not any(name.startswith("teacher") for name in trained)
    assert {name.replace("network.", "teacher.") for name in trained if name.startswith("network.")} <= state.keys()
    assert {"centre", "patch_centre", "step", "teacher_heads.patches.prototypes"} <= state.keys()
    assert set(model.teacher.state_dict()) == set(model.network.state_dict())


def test_a_step_that_is_not_a_number_does_not_reach_the_centre():
    model = model_of()
    bad = batch()
    bad["image"][1] = torch.nan
    model(bad)
    assert torch.equal(model.centre, torch.zeros(6))
    assert int(model.step) == 1


def test_validation_changes_nothing():
    model = model_of()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    _, metrics = model.eval()(batch())
    assert metrics["one"].shape == metrics["other"].shape == (4, 16)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("centring", ["centre", "sinkhorn"])
def test_every_parameter_that_trains_has_a_gradient(centring):
    model = model_of(centring=centring, separate_heads=True)
    loss, _ = model(batch())
    loss.backward()
    without = [
        name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None
    ]
    assert without == []


def test_a_small_crop_is_a_part_of_the_cutout_in_nanomaggies_near_its_middle():
    # One pixel of the cutout in each value, so that a crop tells where it comes from; no change but the crop.
    pixels = torch.arange(30 * 30, dtype=torch.float32).view(1, 1, 30, 30).expand(8, 3, -1, -1)
    still = AugmentationSection(flip=0.0, rotation="none", blur=(0.0,), noise=(0.0,))
    model = model_of(local_reach=3)
    model.augmentation, model.image = still, IMAGE.model_copy(update={"input": "flux"})
    crop = model._crop({"image": pixels, "keys": keys_of(0, torch.arange(8))}, 2)

    assert crop.shape == (8, 3, 12, 12)
    for one in crop:
        top, left = divmod(int(one[0, 0, 0]), 30)
        assert torch.equal(one[0], pixels[0, 0, top : top + 12, left : left + 12])
        assert abs(top - 9) <= 3 and abs(left - 9) <= 3  # noqa: PT018
    assert len({int(one[0, 0, 0]) for one in crop}) > 4


@pytest.mark.slow
@pytest.mark.distributed
def test_two_ranks_leave_the_teacher_and_the_centres_that_one_leaves(tmp_path):
    images = 0.1 * torch.randn(8, 3, 30, 30, generator=torch.Generator().manual_seed(0))
    torch.save({"image": images}, tmp_path / "inputs.pt")
    for ranks in (1, 2):
        start("dinov2", tmp_path, ranks)
    one, two = (torch.load(tmp_path / f"outputs-{ranks}.pt", weights_only=True) for ranks in (1, 2))

    assert int(one["centre/step"]) == int(one["sinkhorn/step"]) == 3
    for name, value in one.items():
        within = {"atol": 0.0, "rtol": 1e-9} if value.dtype == torch.float64 else {"atol": 1e-5, "rtol": 1e-4}
        torch.testing.assert_close(two[name], value, msg=name, **within)
    assert one["koleo"].dtype == torch.float64
    assert one["koleo/patch_embed.proj.weight"].abs().max() > 0.01
