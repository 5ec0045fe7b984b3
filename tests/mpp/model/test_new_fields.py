"""New fields are appended by name, start as asked, and change nothing about the old ones."""

import pytest
import torch

from polycli.errors import UserError
from polycli.mpp.model.avit import AViT
from polycli.mpp.model.new_fields import with_new_fields
from polycli.mpp.recipe.training import ModelSection
from polycli.mpp.training.freeze import freeze

KNOWN = ("compNS.density", "compNS.pressure", "swe.height", "unused.3")
BCS = torch.tensor([[1, 1]])


@pytest.fixture(params=[4, 16])
def model(request):
    torch.manual_seed(0)
    section = ModelSection(
        fields=KNOWN, embed_dim=32, num_heads=2, blocks=2, patch_size=request.param, layer_scale=0.5, drop_path=0
    )
    return AViT(section).eval()


@pytest.mark.parametrize("start", ["mean", "copy", "noise"])
def test_old_fields_are_predicted_as_before_within_rounding(model, start):
    x, labels = torch.randn(1, 3, 2, 16, 16), torch.tensor([2, 0])
    grown = with_new_fields(model, ["mhd.current", "swe.height", "mhd.density"], start=start).eval()
    assert grown.section.fields == (*KNOWN, "mhd.current", "mhd.density")
    torch.testing.assert_close(grown(x, labels, BCS), model(x, labels, BCS), rtol=1e-5, atol=1e-6)
    assert len(model.section.fields) == 4  # the old model is as it was


def predictions(model, grown, new, old):
    """Alone in a batch: what the new field gives, and what the old one gives in the old model."""
    x = torch.randn(1, 3, 1, 16, 16)
    return grown(x, torch.tensor([new]), BCS), model(x, torch.tensor([old]), BCS)


def test_a_copy_answers_as_the_field_of_the_same_quantity(model):
    grown = with_new_fields(model, ["mhd.pressure"], start="copy").eval()
    torch.testing.assert_close(*predictions(model, grown, 4, 1), rtol=1e-5, atol=1e-6)


def test_a_field_that_is_named_is_copied_whatever_the_others_start_from(model):
    grown = with_new_fields(model, ["a", "b"], start="noise", from_fields={"b": "swe.height"}).eval()
    torch.testing.assert_close(*predictions(model, grown, 5, 2), rtol=1e-5, atol=1e-6)


def test_the_mean_is_over_fields_that_were_trained(model):
    grown = with_new_fields(model, ["a"])
    columns = grown.space_bag.weight
    torch.testing.assert_close(columns[:, 4], columns[:, :3].mean(dim=1))
    torch.testing.assert_close(grown.debed.out_bias[4], model.debed.out_bias[:3].mean())


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"c": "swe.height"}, "names 'c' as a new field, but the data's new fields are a"),
        ({"swe.height": "compNS.density"}, "the checkpoint knows it already"),
        ({"a": "swe.hight"}, "starts 'a' from 'swe.hight'; the checkpoint knows compNS.density"),
    ],
)
def test_a_map_of_names_that_are_not_there_is_refused(model, names, says):
    with pytest.raises(UserError, match=says):
        with_new_fields(model, ["a"], from_fields=names)


@pytest.mark.parametrize(
    ("mode", "trains"),
    [
        ("none", ("space_bag.", "embed.", "blocks.", "debed.")),
        ("processor", ("space_bag.", "embed.", "debed.")),
        ("middle", ("space_bag.", "debed.out_kernel", "debed.out_bias")),
    ],
)
def test_each_mode_trains_what_it_names_and_nothing_else(model, mode, trains):
    idle = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    freeze(model, mode)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (name.startswith(trains) and name not in idle), name
