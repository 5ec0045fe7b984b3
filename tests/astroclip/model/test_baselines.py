"""Supervised networks: maps and attention of the right shapes and sums, and sections that make no sense refused."""

import pytest
import torch

from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.conv_attention import ConvAttention
from polycli.astroclip.model.convnext import ConvNeXt
from polycli.astroclip.recipe.model import ImageSection, ModelSection, SpectrumSection, TemplateSection
from polycli.astroclip.recipe.training import PretrainRecipe
from polycli.errors import UserError
from polycli.nn.skeleton import skeleton


def test_convnext_of_the_published_size_has_the_published_number_of_parameters():
    """ConvNeXt-T without its classifier: 27.8 M (Liu et al. 2022, 28.6 M with 768,000 and 1,000 of the classifier)."""
    with skeleton():
        model = ConvNeXt(ImageSection(name="convnext", embed_dim=768, depth=18))
    assert sum(parameter.numel() for parameter in model.parameters()) == 28_589_128 - 769_000
    assert len(model.blocks) == 18


def test_convnext_gives_one_vector_for_each_place_and_their_mean():
    torch.manual_seed(0)
    section = ImageSection(name="convnext", size=64, embed_dim=16, depth=4, drop_path=0.5)
    model = AstroClip(ModelSection(image=section)).eval()
    rgb = torch.rand(2, 3, 64, 64)
    tokens = model.image_encoder.tokens(rgb)
    assert tokens.shape == (2, 4, 16)
    torch.testing.assert_close(model.embed_image(rgb), tokens.mean(dim=1))
    # An image does not change the vector of another one, nor does dropping branches in eval mode.
    torch.testing.assert_close(model.embed_image(rgb[1:])[0], model.embed_image(rgb)[1], rtol=1e-4, atol=1e-5)


def spectra(count=3, pixels=700):
    generator = torch.Generator().manual_seed(1)
    flux = 3 + torch.randn(count, pixels, generator=generator)
    return flux, torch.rand(count, pixels, generator=generator), torch.zeros(count, pixels, dtype=torch.bool)


def test_attention_over_wavelengths_adds_up_to_one():
    torch.manual_seed(0)
    model = ConvAttention(SpectrumSection(name="conv_attention", embed_dim=8, inputs=("ivar", "mask"))).eval()
    flux, ivar, mask = spectra()
    features, attention, _ = model._seen(flux, ivar, mask)
    assert features.shape == attention.shape == (3, 11, 8)
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(3, 8))
    torch.testing.assert_close(model(flux, ivar, mask), features)
    assert not torch.equal(model.pooled(flux, ivar, mask), model.pooled(flux, 2 * ivar, mask))
    # What the mean tells is seen, though convolutions see standardised flux.
    assert not torch.allclose(model.pooled(flux, ivar, mask), model.pooled(flux + 5, ivar, mask), atol=1e-3)
    with pytest.raises(UserError, match="sees ivar too"):
        model.pooled(flux)


def test_sections_of_other_networks_are_refused():
    inputs = {"name": "conv_attention", "inputs": ("ivar",)}
    with pytest.raises(ValueError, match="templates are of specformer"):
        SpectrumSection(**inputs, templates=TemplateSection())
    assert SpectrumSection(name="conv_attention", embed_dim=128).embed_dim == 128  # of which 6 heads are no part
    train = {"steps": 1, "global_batch_size": 1, "micro_batch_size": 1}
    with pytest.raises(ValueError, match="stage spectrum trains specformer"):
        PretrainRecipe(family="astroclip", verb="pretrain", stage="spectrum", model={"spectrum": inputs}, train=train)
